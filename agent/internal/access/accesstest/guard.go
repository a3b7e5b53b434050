// Package accesstest makes guards for the tests of the listeners. Only tests import it.
package accesstest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// Tokens returns a guard that accepts callers with the token.
func Tokens(t *testing.T, token string) *access.Guard {
	t.Helper()
	return NewGuard(t, access.NewRegister(hclog.NewNullLogger()), WriteToken(t, token))
}

// WriteToken returns the path of a file with the token.
func WriteToken(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// NewGuard returns a guard of r with the tokens of a file.
func NewGuard(t *testing.T, r *access.Register, tokens string) *access.Guard {
	t.Helper()
	g, err := access.NewGuard(r, tokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Own returns a guard that gives this process the identity "ours" on a unix socket, with the limits of i. The listener's
// own token is "master".
func Own(t *testing.T, i access.Identity) (*access.Guard, *access.Register) {
	t.Helper()
	i.Name, i.UIDs = "ours", []int64{int64(os.Getuid())}
	r := access.NewRegister(hclog.NewNullLogger())
	if err := r.Set([]access.Identity{i}); err != nil {
		t.Fatal(err)
	}
	return NewGuard(t, r, WriteToken(t, "master")), r
}
