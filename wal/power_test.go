package wal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// shutDown is EXT4_IOC_SHUTDOWN with the flag that forgets the journal's last transactions too
// (Linux, fs/ext4/ext4.h): what was not synced is lost, as with the power.
const (
	ioctlShutdown  = 0x8004587d
	withoutFlushes = 2
)

// TestWhatWasAckedOutlivesAPowerLoss takes the file system away from under the workload.
func TestWhatWasAckedOutlivesAPowerLoss(t *testing.T) {
	image, mount := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := makeImage(image); err != nil {
		t.Logf("NOT TESTED: a power loss, since no ext4 image could be made: %v", err)
		return
	}
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	acked := make(map[string]int)
	defer unix.Unmount(mount, unix.MNT_DETACH) // of effect when the test ends early
	for range rounds {
		if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
			t.Logf("NOT TESTED: a power loss, since this process may not mount: %v: %s", err, out)
			return
		}
		dir := filepath.Join(mount, "deep", "data")
		if len(acked) > 0 {
			checkKilled(t, dir, acked)
		}
		gone := make(chan error, 1)
		killRound(t, dir, acked, func(workload *os.Process) {
			gone <- shutDown(mount)
			workload.Signal(syscall.SIGKILL)
		})
		must(t, <-gone)
		must(t, unix.Unmount(mount, 0))
	}
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	checkKilled(t, filepath.Join(mount, "deep", "data"), acked)
	must(t, unix.Unmount(mount, 0))
	t.Logf("acked: %v", acked)
}

func makeImage(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, 200<<20); err != nil {
		return err
	}
	return exec.Command("mkfs.ext4", "-q", path).Run()
}

func shutDown(mount string) error {
	dir, err := os.Open(mount)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.IoctlSetPointerInt(int(dir.Fd()), ioctlShutdown, withoutFlushes)
}
