package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Without an agent there is no completion, and no error.
func TestCompletion_WithoutAnAgent(t *testing.T) {
	t.Setenv("STANDPIPE_ADMIN_ADDRESS", "127.0.0.1:1")
	if got := runWith("__complete", "put", ""); got.code != 0 || strings.Contains(got.stdout, "clicks") {
		t.Errorf("got %+v", got)
	}
	if got := runWith("__complete", "init", "--destination", "kin"); !strings.Contains(got.stdout, "kinesis\n") {
		t.Errorf("got %+v", got)
	}
}

// Each command has a page, in which no line of text begins with a control character.
func TestMan_HasAPageForEachCommand(t *testing.T) {
	dir := t.TempDir()
	if got := runWith("man", dir); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	for _, name := range []string{"standpipe", "standpipe-agent", "standpipe-put", "standpipe-wal-dump", "standpipe-doctor"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, section := range []string{".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH SEE ALSO"} {
			if !strings.Contains(string(text), section) {
				t.Errorf("%s: no %s", name, section)
			}
		}
		if listed := strings.Contains(string(text), ".BR standpipe\\-put (1)\nAppend"); listed != (name == "standpipe") {
			t.Errorf("%s: got a list of commands: %v", name, listed)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !strings.Contains(".TH.SH.B .BR.PP.TP.nf.fi", line[:min(3, len(line))]) {
				t.Errorf("%s: got the line %q", name, line)
			}
		}
	}
}
