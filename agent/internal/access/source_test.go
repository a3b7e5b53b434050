package access_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// TestSources_EverySignOfAChange: a file is read again when its size, its time or the file itself is another.
func TestSources_EverySignOfAChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	at := time.Now().Add(-time.Hour)
	set := func(path, token string, at time.Time) {
		t.Helper()
		writeTokens(t, path, token)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(){
		"size": func() { set(path, "three", at) },
		"time": func() { set(path, "two", at.Add(time.Nanosecond)) },
		"file": func() {
			set(path+".new", "two", at)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		set(path, "one", at)
		r, _ := register(t)
		g := guard(t, r, path, nil)
		if got := who(g, access.Shown{}.WithToken("one")); got != "<>" {
			t.Errorf("%s: got %s", name, got)
		}
		change()
		g.Refresh()
		if got := who(g, access.Shown{}.WithToken("one")); got == "<>" {
			t.Errorf("%s: the token that is gone is taken", name)
		}
	}
}
