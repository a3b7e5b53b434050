//go:build linux

package wal_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

var powerRounds = flag.Int("power.rounds", 0, "how often the power test cuts each disk's power; 0: 5, with -short 1")

func TestPower_AckedEventsOutliveALoss(t *testing.T) {
	rounds := *powerRounds
	switch {
	case rounds > 0:
	case testing.Short():
		rounds = 1
	default:
		rounds = 5
	}
	for _, way := range testkit.PowerCuts {
		t.Run(way.Name, func(t *testing.T) {
			t.Parallel()
			d, err := newDisk(t, t.TempDir(), way.Size, way.Mkfs)
			if err != nil {
				notTested(t, "a power loss, since no file system could be made", err)
				return
			}
			acked := make(map[string]int)
			for round := range rounds {
				if err := way.Attach(d); err != nil && round == 0 {
					notTested(t, "a power loss, since the file system could not be mounted", err)
					return
				} else if err != nil {
					t.Fatal(err)
				}
				cutPower(t, d, acked, way.Cut)
			}
			t.Logf("acked: %v", acked)
		})
	}
}

// cutPower cuts the power of an attached disk under the workload, and checks the log. A file that was written just before, and
// never synced, must be gone; otherwise the cut had no effect and the test proves nothing.
func cutPower(t *testing.T, d *disk, acked map[string]int, cut func(d *disk) error) {
	t.Helper()
	unsynced := filepath.Join(d.Mount, "unsynced")
	dir := filepath.Join(d.Mount, "deep", "data")
	most := runUntilCut(t, d, dir, acked, func(d *disk) error {
		return errors.Join(os.WriteFile(unsynced, make([]byte, 1<<20), 0o600), cut(d))
	})
	must(t, d.Attach())
	if st, err := os.Stat(unsynced); err == nil && st.Size() > 0 {
		t.Errorf("%d bytes that nobody had synced are there after a power loss", st.Size())
	} else if err == nil {
		must(t, os.Remove(unsynced)) // ext4 writes out a file that replaces another one
	}
	checkKilled(t, dir, acked, most)
	d.Detach()
}

func runUntilCut(t *testing.T, d *disk, dir string, acked map[string]int, cut func(d *disk) error) (most map[string]int) {
	t.Helper()
	gone := make(chan error, 1)
	most = killRound(t, dir, acked, func(v *victim) {
		gone <- v.cut(func() error { return cut(d) })
		v.Signal(syscall.SIGKILL)
	})
	must(t, <-gone)
	d.LetGo()
	return most
}

// TestPower_DiskThatLiesAboutSyncsLosesAckedEvents is the control of the power test: behind a cache that ignores syncs, the
// log must lose acked events.
func TestPower_DiskThatLiesAboutSyncsLosesAckedEvents(t *testing.T) {
	d, err := newDisk(t, t.TempDir(), 200<<20, "mkfs.ext4")
	if err == nil {
		err = d.AttachBehindCache("unsafe")
	}
	if err != nil {
		notTested(t, "a disk that lies", err)
		return
	}
	acked := make(map[string]int)
	dir := filepath.Join(d.Mount, "data")
	runUntilCut(t, d, dir, acked, (*disk).KillServer)
	must(t, d.Attach())
	l, err := wal.Open(t.Context(), killOptions(dir))
	must(t, err)
	for key, n := range acked {
		if got := lastOf(l, key); got >= n {
			t.Errorf("%s: got all %d that were acked; the power test tests nothing", key, n)
		}
	}
	must(t, l.Close())
	d.Detach()
}
