package testkit_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// After a power cut the image is mounted anew, also if a process still has a file of the last mount open: otherwise the test would
// go on with the file system that was shut down.
func TestDisk_IsMountedAnewAfterAPowerCut(t *testing.T) {
	way := testkit.PowerCuts[0]
	d, err := testkit.NewDisk(t, t.TempDir(), 16<<20, way.Mkfs)
	if err == nil {
		err = way.Attach(d)
	}
	if err != nil {
		testkit.NotTested(t, "a disk that is mounted anew, since no file system could be mounted", err)
		return
	}
	held, err := os.Open(d.Mount)
	testkit.Must(t, err)
	testkit.Must(t, way.Cut(d))
	d.LetGo()
	time.AfterFunc(100*time.Millisecond, func() { held.Close() })
	testkit.Must(t, d.Attach())
	testkit.Must(t, os.WriteFile(filepath.Join(d.Mount, "x"), []byte("x"), 0o600))
	d.Detach()
}
