package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

// pendingTypes are the types of destinations that a file may have and that have no sink yet. It is empty in a release.
var pendingTypes = []string{}

func TestDestinationTypes_HaveASinkEach(t *testing.T) {
	for _, name := range config.DestinationTypes() {
		if _, ok := destinationTypes[name]; !ok && !slices.Contains(pendingTypes, name) {
			t.Errorf("the configuration has the type %q; want an entry in destinationTypes", name)
		}
	}
	for name := range destinationTypes {
		if name != discardType && !slices.Contains(config.DestinationTypes(), name) {
			t.Errorf("no configuration can have the type %q", name)
		}
	}
}

func TestLoad_NamesATypeWithoutSink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, []byte("stream \"a\" {\n  destination \"file\" \"f\" { path = \"x\" }\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Streams[0].Destinations[0].Type = "carrier-pigeon"
	err = checkBuiltIn(c)
	if want := path + `:2:3: destination type "carrier-pigeon" is not part of this version; allowed is file, firehose, `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
}
