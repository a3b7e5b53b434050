package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Both ways to rename keep a file that has the name already.
func TestRename_NeverOverwrites(t *testing.T) {
	for name, rename := range map[string]func(old, path string) error{"in one step": renameNew, "in two steps": renameUnlessThere} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old, path := filepath.Join(dir, "a.tmp"), filepath.Join(dir, "a")
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(old, "first")
			if err := rename(old, path); err != nil {
				t.Fatal(err)
			}
			write(old, "second")
			if err := rename(old, path); !errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v, want fs.ErrExist", err)
			}
			for name, want := range map[string]string{path: "first", old: "second"} {
				if got, err := os.ReadFile(name); string(got) != want || err != nil {
					t.Errorf("%s: got %q, %v, want %q", filepath.Base(name), got, err, want)
				}
			}
		})
	}
}
