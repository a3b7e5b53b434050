package ingest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/access"
)

// tokens is a guard that takes who shows the token.
func tokens(t *testing.T, token string) *access.Guard {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := access.NewGuard(access.NewRegister(hclog.NewNullLogger()), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
