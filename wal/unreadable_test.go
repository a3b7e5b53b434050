//go:build linux

package wal_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// A segment on a bad part of the disk: it can be opened, and reading it is an I/O error, or a fault of
// the memory map. It is set aside when the log opens, and given up when it goes bad later.
func TestASegmentThatTheDiskCannotRead(t *testing.T) {
	trigger := filepath.Join(t.TempDir(), "trigger")
	for _, when := range []string{"before", "after"} {
		t.Run(when+" the open", func(t *testing.T) {
			d, err := newDisk(t, t.TempDir(), 64<<20, "mkfs.ext4")
			if err == nil {
				err = d.attachBehindErrors(trigger)
			}
			if err != nil {
				notTested(t, "a disk that can't be read", err)
				return
			}
			s := newSample(t)
			dir := filepath.Join(d.mount, "data")
			copyDir(t, dir, s.dir)
			must(t, run("sync", "-f", d.mount))
			if when == "before" {
				forget(t, filepath.Join(dir, "wal", s.files[1]), filepath.Join(d.folder, "nbd"))
			}
			must(t, os.WriteFile(trigger, nil, 0o600))
			defer os.Remove(trigger)
			l, err := wal.Open(t.Context(), sampleOptions(dir))
			must(t, err)
			defer l.Close()
			if when == "after" {
				forget(t, filepath.Join(dir, "wal", s.files[1]), filepath.Join(d.folder, "nbd"))
			}
			checkGivenUp(t, l, &s)
			must(t, l.Close())
			must(t, os.Remove(trigger))
			d.letGo()
		})
	}
}

// forget drops the kernel's copies of files, so that the next read asks the disk.
func forget(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		f, err := os.Open(path)
		must(t, err)
		must(t, errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()))
	}
}

// checkGivenUp reads the stream old to its end, gives up what can't be read, and compares it with the ledger.
func checkGivenUp(t *testing.T, l *wal.Log, s *sample) {
	t.Helper()
	read := s.readDamaged(t, l, "old", s.next["old"])
	st := l.Places("old")[0].Stat()
	lost := st.Dropped[wal.DroppedCorrupt].Events
	if held := inspect(t, s.dir).Segments[1].Streams[0].Held.Events; lost == 0 || lost > held {
		t.Errorf("got %d events lost, the segment held %d", lost, held)
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

// A segment that this user may not read is not damaged: the log does not open, says what is wrong, and when
// that is put right nothing is lost.
func TestALogThatMayNotBeReadIsNotSetAside(t *testing.T) {
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

// giveAway makes nobody the owner of all of a folder, which may be reached then.
func giveAway(t testing.TB, dir string) {
	t.Helper()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, 65534, 65534))
	}))
}
