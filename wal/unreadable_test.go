//go:build linux

package wal_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// A segment is on a bad part of the disk: it can be opened, and reading it is an I/O error, or a fault of the memory
// map. An I/O error is no evidence of wrong content, so the log does not open. It is complete once the disk can be read
// again.
func TestUnreadableDisk_LeavesTheLogAsItIs(t *testing.T) {
	s := newSample(t)
	for i, which := range map[int]string{0: "oldest", 1: "middle", len(s.files) - 1: "newest"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			d, trigger, dir := unreadableDisk(t, &s)
			if d == nil {
				return
			}
			before := contents(t, dir)
			forget(t, filepath.Join(dir, "wal", s.files[i]), d.Device())
			must(t, os.WriteFile(trigger, nil, 0o600))
			l, err := wal.Open(t.Context(), sampleOptions(dir))
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), s.files[i]) {
				t.Errorf("got %v, want an I/O error of %s", err, s.files[i])
			}
			must(t, os.Remove(trigger))
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Errorf("got %v, want %v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
			}
			if lost := s.checkDamaged(t, dir); lost != 0 {
				t.Errorf("got %d events lost", lost)
			}
			d.LetGo()
		})
	}
}

// A segment becomes unreadable while the log is open. Nothing is lost as long as the disk may recover. After a long
// time its events are counted as lost, and the destination goes on.
func TestUnreadableDisk_CostsEventsOnlyIfItLasts(t *testing.T) {
	s := newSample(t)
	for name, patience := range map[string]time.Duration{"passes": time.Hour, "lasts": time.Nanosecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, trigger, dir := unreadableDisk(t, &s)
			if d == nil {
				return
			}
			l, err := wal.Open(t.Context(), sampleOptions(dir).Patient(patience))
			must(t, err)
			defer l.Close()
			held := inspectLog(t, dir).Segments[1].Streams[0]
			forget(t, filepath.Join(dir, "wal", s.files[1]), d.Device())
			must(t, os.WriteFile(trigger, nil, 0o600))
			var corrupt *wal.CorruptError
			for range 3 { // each Read reads the disk again
				chunk, err := l.Read("old", held.First, wal.AllLanes, 1<<20)
				if err == nil || patience == time.Hour && (errors.As(err, &corrupt) || !errors.Is(err, syscall.EIO)) {
					t.Fatalf("got %d events and %v, want an I/O error", len(chunk.Events), err)
				}
			}
			if patience == time.Hour {
				must(t, os.Remove(trigger))
			}
			checkGivenUp(t, l, &s, held.Held.Events, patience < time.Hour)
			must(t, l.Close())
			d.LetGo()
		})
	}
}

// unreadableDisk returns a copy of the sample on a disk that cannot be read while the file trigger exists. d is nil if
// no such disk can be created here.
func unreadableDisk(t *testing.T, s *sample) (d *disk, trigger, dir string) {
	t.Helper()
	trigger = filepath.Join(t.TempDir(), "trigger")
	d, err := newDisk(t, t.TempDir(), 64<<20, "mkfs.ext4")
	if err == nil {
		err = d.AttachBehindErrors(trigger)
	}
	if err != nil {
		notTested(t, "a disk that can't be read", err)
		return nil, "", ""
	}
	t.Cleanup(func() { _ = os.Remove(trigger) }) // before the disk is removed, if the file still exists
	dir = filepath.Join(d.Mount, "data")
	copyDir(t, dir, s.dir)
	must(t, run("sync", "-f", d.Mount))
	return d, trigger, dir
}

// forget evicts files from the kernel's page cache, so that the next read goes to the disk.
func forget(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		f, err := os.Open(path)
		must(t, err)
		must(t, errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()))
	}
}

// checkGivenUp reads the stream old to its end, gives up events that cannot be read, and compares the result with the
// ledger.
func checkGivenUp(t *testing.T, l *wal.Log, s *sample, held uint64, loses bool) {
	t.Helper()
	read := s.readDamaged(t, l, "old", s.next["old"])
	st := l.Cursors("old")[0].Stat()
	lost := st.Dropped[wal.DroppedCorrupt].Events
	if lost > held || lost > 0 != loses {
		t.Errorf("got %d events lost of the %d that the segment held, want some: %v", lost, held, loses)
	}
	if st.Pending != read || read.Events+lost != st.Appended.Events {
		t.Errorf("got %+v with %+v read", st, read)
	}
}

const openingDir = "STANDPIPE_TEST_OPENING_DIR"

// TestOpeningProcess is the other process of the test below.
func TestOpeningProcess(t *testing.T) {
	dir := os.Getenv(openingDir)
	if dir == "" {
		return
	}
	l, err := wal.Open(t.Context(), sampleOptions(dir))
	if err == nil {
		l.Close()
	}
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(dir, "wal")) {
		t.Errorf("got %v, want a permission that is missing, and where", err)
	}
}

// A segment that this user has no permission to read is not damaged. The log does not open and its error names the
// cause. Once that is fixed, nothing is lost.
func TestSetAside_LogWithoutReadPermissionIsKept(t *testing.T) {
	s := newSample(t)
	for i, which := range map[int]string{0: "oldest", len(s.files) - 1: "newest"} {
		t.Run(which, func(t *testing.T) {
			dir := s.copy(t)
			process := exec.Command("/proc/self/exe", "-test.run=^TestOpeningProcess$")
			process.Env, process.Dir = append(os.Environ(), openingDir+"="+dir), "/"
			if os.Geteuid() == 0 { // root may read anything
				giveAway(t, dir)
				process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			path := filepath.Join(dir, "wal", s.files[i])
			must(t, os.Chmod(path, 0))
			if out, err := process.CombinedOutput(); err != nil {
				t.Errorf("got %v: %s", err, out)
			}
			must(t, os.Chmod(path, 0o600))
			if lost := s.checkDamaged(t, dir); lost != 0 {
				t.Errorf("got %d events lost", lost)
			}
		})
	}
}

// giveAway makes user 65534 the owner of everything in dir, and makes dir accessible to that user.
func giveAway(t testing.TB, dir string) {
	t.Helper()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, 65534, 65534))
	}))
}
