package file_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Another process created the directories and may not have synced them. The first Send syncs each up to Path; a later
// one in the same directory does not.
func TestFile_SyncsFoldersOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, hour), 0o755); err != nil {
		t.Fatal(err)
	}
	f := open(t, options(dir))
	synced := 0
	f.FailDisk(func(call string) error {
		if call == "sync directory" {
			synced++
		}
		return nil
	})
	mustSend(t, f, 1, 1)
	if want := 4 + 1; synced != want { // the parents of year, month, day and hour, and the file's own directory
		t.Errorf("got %d folders synced, want %d", synced, want)
	}
	synced = 0
	mustSend(t, f, 2, 1)
	if synced != 0 {
		t.Errorf("got %d folders synced by the next Send, want none", synced)
	}
}
