package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
