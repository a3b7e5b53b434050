package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

// writeFolder writes files and returns their folder.
func writeFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolder_IsOneConfiguration(t *testing.T) {
	dir := writeFolder(t, map[string]string{
		"20-clicks.hcl": in(`"kinesis" "k"`, `stream = "clicks"`),
		"10-base.hcl":   "node_name = \"gw\"\nwal { max_age = \"36h\" }\n",
		"30-aws.hcl":    "aws { region = \"eu-west-1\" }\nlog_level = \"debug\"\n",
		".hidden.hcl":   "syntax error",
		"notes.txt":     "syntax error",
	})
	if err := os.Mkdir(filepath.Join(dir, "folder.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Streams[0]
	if c.NodeName != "gw" || c.LogLevel != "debug" || s.MaxAge != c.WAL.MaxAge || s.MaxAge == 0 || s.Destinations[0].AWS.Region != "eu-west-1" {
		t.Errorf("got %+v", c)
	}
	if got, want := s.Destinations[0].Pos.String(), filepath.Join(dir, "20-clicks.hcl")+":2:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The files of a ConfigMap are links to files in a hidden folder.
func TestFolder_ReadsLinks(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "..data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "agent.hcl"), []byte(`node_name = "gw"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", "agent.hcl"), filepath.Join(dir, "agent.hcl")); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(dir); err != nil || c.NodeName != "gw" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestFolder_FaultsNameTheirFile(t *testing.T) {
	dir := writeFolder(t, map[string]string{
		"a.hcl": "node_name = \"gw\"\nwal {}\n" + in(`"file" "f"`, `path = "x"`),
		"b.hcl": "listener \"grpc\" { address = \"127.0.0.1:7711\" }\nlog_level = info\n",
		"c.hcl": "node_name = \"gw\"\nwal {}\n" + in(`"file" "f"`, `path = "y"`) + "\nlistener \"http\" { address = \"localhost:7711\" }\n",
	})
	_, err := config.Load(dir)
	var faults *config.FaultsError
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	want := []string{
		`b.hcl:2:13: log_level: info is a bare word, not a string in quotes; allowed is trace, debug, info, warn or error`,
		`c.hcl:1:1: node_name is given twice; a setting may stand once, first at a.hcl:1`,
		`c.hcl:2:1: wal is given twice; it may stand once, first at a.hcl:2`,
		`c.hcl:3:8: stream "a" is given twice; a name or pattern may stand once, first at a.hcl:3`,
		`c.hcl:8:29: address: "localhost:7711" is taken by listener "grpc" at b.hcl:1; allowed is an address that no other block has`,
	}
	if got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestFolder_SyntaxErrorsOfAllFiles(t *testing.T) {
	dir := writeFolder(t, map[string]string{"a.hcl": "wal {", "b.hcl": "node_name = 1", "c.hcl": "admin {"})
	_, err := config.Load(dir)
	var faults *config.FaultsError
	if !errors.As(err, &faults) || len(faults.Faults) != 2 || filepath.Base(faults.Faults[0].Pos.File) != "a.hcl" || filepath.Base(faults.Faults[1].Pos.File) != "c.hcl" {
		t.Errorf("got %v, want the faults of a.hcl and c.hcl", err)
	}
}

func TestFolder_Empty(t *testing.T) {
	dir := writeFolder(t, map[string]string{"agent.txt": ""})
	_, err := config.Load(dir)
	var faults *config.FaultsError
	if err == nil || errors.As(err, &faults) || !strings.Contains(err.Error(), dir+": the folder has no file whose name ends with .hcl") {
		t.Errorf("got %v", err)
	}
}

func TestFolder_TooLarge(t *testing.T) {
	half := strings.Repeat("#", 700<<10)
	dir := writeFolder(t, map[string]string{"a.hcl": half, "b.hcl": half})
	_, err := config.Load(dir)
	if err == nil || !strings.Contains(err.Error(), "b.hcl:1:1: the files of the folder have until this one 1433600 bytes; allowed is at most 1048576") {
		t.Errorf("got %v", err)
	}
}
