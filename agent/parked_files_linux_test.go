package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// The agent is killed while a file destination has an open file, and started again without the destination: the file gets its
// name, with the lines that the log vouches for. The destination that comes back later delivers the rest.
func TestStart_FinishesFilesOfRemovedDestinations(t *testing.T) {
	for name, next := range map[string]string{
		"destination removed": strings.ReplaceAll(waitingFile("10ms"), `"file" "a" {`+"\n    path = \"DIR/a\"", `"file" "b" {`+"\n    path = \"DIR/b\""),
		"stream removed":      other,
		"destination renamed": strings.ReplaceAll(waitingFile("10ms"), `"file" "a"`, `"file" "b"`),
	} {
		t.Run(name, func(t *testing.T) {
			dir, image := t.TempDir(), t.TempDir()
			conf := parse(t, dir, waitingFile("10ms"))
			a := start(t, conf, hclog.NewNullLogger())
			client := dial(t, conf)
			if _, err := client.Append(t.Context(), &standpipev1.AppendRequest{
				Stream: "s", Ack: standpipev1.Ack_ACK_DELIVERED, Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}},
			}); err != nil {
				t.Fatal(err)
			}
			if err := a.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			copyFiles(t, image, dir)
			if err := a.stop(t); err != nil {
				t.Fatal(err)
			}
			for _, made := range []string{"a", "wal", "LOCK"} {
				if err := os.RemoveAll(filepath.Join(dir, made)); err != nil {
					t.Fatal(err)
				}
			}
			copyFiles(t, dir, image)
			if got := count(t, dir+"/a/*/*/*/*/*.jsonl.tmp"); got != 1 {
				t.Fatalf("got %d unfinished files after the kill, want 1", got)
			}

			a = start(t, parse(t, dir, next), hclog.NewNullLogger())
			until(t, "the file has its name", func() bool { return count(t, dir+"/a/*/*/*/*/s-1.jsonl") == 1 })
			if got := count(t, dir+"/a/*/*/*/*/s-1.jsonl.tmp"); got != 0 {
				t.Errorf("got %d unfinished files, want none", got)
			}
			if err := a.stop(t); err != nil {
				t.Fatal(err)
			}
			if name == "destination renamed" {
				return // it delivers the event a second time, to its own file
			}
			a = start(t, conf, hclog.NewNullLogger())
			send(t, dial(t, conf), "s", 1)
			until(t, "all is delivered", func() bool { return destination(t, a.Agent, "s", "a").Pending.Events == 0 })
			if err := a.stop(t); err != nil {
				t.Fatal(err)
			}
			if got := lines(t, dir+"/a"); got != 2 {
				t.Errorf("got %d lines, want each of the 2 events once", got)
			}
		})
	}
}

// copyFiles copies the regular files below from, which may go meanwhile.
func copyFiles(t *testing.T, to, from string) {
	t.Helper()
	for _, top := range []string{"a", "wal", "LOCK"} {
		err := filepath.WalkDir(filepath.Join(from, top), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
