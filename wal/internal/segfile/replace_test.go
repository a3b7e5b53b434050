package segfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/segfile"
)

// Readers detect a replaced file by the count: a read of the old index and the new file fails, and is repeated. The index
// in memory is that of the old file.
func TestReplace_IsDetectedByReaders(t *testing.T) {
	dir := t.TempDir()
	seg := segfile.New(dir, 1, &segfile.Files{}, hclog.NewNullLogger())
	if err := seg.OpenEmpty(1 << 20); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "copy")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("copy")
	if err := seg.Replace(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(seg.Path); err != nil || string(b) != "copy" || seg.Replaced() != 1 || seg.Index() != nil {
		t.Errorf("got %q, %v, replaced %d times, index %v, want the copy, once, and no index", b, err, seg.Replaced(), seg.Index())
	}
	if err := seg.Remove(os.Remove); err != nil {
		t.Fatal(err)
	}
	write("late")
	if err := seg.Replace(path); !errors.Is(err, segfile.ErrGone) || seg.Replaced() != 1 {
		t.Errorf("got %v, replaced %d times, want ErrGone after the removal", err, seg.Replaced())
	}
}
