package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

// Each starter is valid, has no warning, and is not written over another file.
func TestInit_WritesAValidFileOfEachType(t *testing.T) {
	for _, kind := range config.DestinationTypes() {
		dir := t.TempDir()
		t.Chdir(dir)
		if got := runWith("init", "--destination", kind); got.code != 0 || !strings.Contains(got.stdout, "standpipe doctor agent.hcl") {
			t.Fatalf("%s: got %+v", kind, got)
		}
		if got := runWith("validate", "agent.hcl"); got.code != 0 || got.stderr != "" {
			t.Errorf("%s: got %+v, want a valid file without warnings", kind, got)
		}
		c, err := config.Load("agent.hcl")
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Streams) != 1 || c.Streams[0].Destinations[0].Type != kind {
			t.Errorf("got %+v, want a destination of type %s", c.Streams, kind)
		}
		before, _ := os.ReadFile("agent.hcl")
		if got := runWith("init"); got.code != 1 || !strings.Contains(got.stderr, "exists") {
			t.Errorf("%s: got %+v for a file that exists", kind, got)
		}
		if after, _ := os.ReadFile("agent.hcl"); string(after) != string(before) {
			t.Errorf("%s: the file has changed", kind)
		}
		if got := runWith("init", "--destination", kind, "-"); got.stdout != string(before) {
			t.Errorf("%s: got %q on standard output", kind, got.stdout)
		}
	}
	if got := runWith("init", "--destination", "kinesys", filepath.Join(t.TempDir(), "x")); got.code != 2 || !strings.Contains(got.stderr, "known are kinesis") {
		t.Errorf("got %+v", got)
	}
}
