package wal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// rollbackWorkload names the environment variable for the data directory of the workload whose last commit is rolled
// back. rollbackDamage names the one for the kind of damage to the newest segment that bbolt meets during the rollback.
const (
	rollbackWorkload = "STANDPIPE_WAL_ROLLBACK_WORKLOAD"
	rollbackDamage   = "STANDPIPE_WAL_ROLLBACK_DAMAGE"
	rollbackEvents   = 40
)

func init() { workloads[rollbackWorkload] = rolledBack }

// rolledBack damages a page of the newest segment, and appends while a write beyond the file's pages fails. The events are too
// large for small commits, in which bbolt takes no part.
func rolledBack(dir string) int {
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	for i := 0; i < rollbackEvents && err == nil; i++ {
		_, err = l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 5000))}})
	}
	path := filepath.Join(dir, "wal", "0000000000000001.seg")
	if err == nil {
		err = damagePage(path, os.Getenv(rollbackDamage))
	}
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 8192, Max: unix.RLIM_INFINITY}); err != nil {
		fmt.Println("error", err)
		return 1
	}
	for range 2 {
		_, err = l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("refused", 800))}})
		fmt.Println("appended:", err)
		if !errors.Is(err, wal.ErrFailed) {
			return 1
		}
	}
	_ = l.Close()
	return 0
}

// damagePage changes the branch pages of a bbolt file. One of them is in use, and the others are free: which one
// depends on the times of the checkpoints. A page begins with its number, flags, count and overflow; an element of a
// branch page has the child's number at byte 8.
func damagePage(path, damage string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, branches := int64(os.Getpagesize()), 0
	b := make([]byte, 16+16)
	for at := 2 * size; ; at += size {
		if _, err := f.ReadAt(b, at); err != nil {
			break
		}
		if binary.NativeEndian.Uint64(b) != uint64(at/size) || binary.NativeEndian.Uint16(b[8:]) != 1 {
			continue
		}
		branches++
		switch damage {
		case "unknown type":
			_, err = f.WriteAt([]byte{0x80}, at+8)
		case "child beyond the map":
			_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, 1<<30), at+16+8)
		}
		if err != nil {
			return err
		}
	}
	if branches == 0 {
		return errors.New("there is no branch page")
	}
	return nil
}

// bbolt walks the whole newest segment when it rolls back a commit, partly in a goroutine whose panic cannot be
// recovered. If the segment was damaged after Open, the append is not acked: either the log fails or the process ends.
// The next Open sets the segment aside and counts its events.
func TestRollback_OfADamagedSegmentAcksNothing(t *testing.T) {
	for _, damage := range []string{"none", "unknown type", "child beyond the map"} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), rollbackWorkload+"="+dir, rollbackDamage+"="+damage)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			ended := errors.As(err, &exit) && exit.ExitCode() == 2 && damage == "child beyond the map"
			t.Logf("the process ended: %t", ended)
			if ctx.Err() != nil || err != nil && !ended {
				t.Fatalf("the workload: %v:\n%s", err, out)
			}
			if strings.Contains(string(out), "appended: <nil>") {
				t.Errorf("an append was acked:\n%s", out)
			}
			l := open(t, wal.Options{Dir: dir})
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			want := uint64(rollbackEvents)
			if damage != "none" {
				want = 0
			}
			if got := uint64(len(readAll(t, l, "s", 1, wal.AllLanes))); got != want || p.Stat().Pending.Events != want {
				t.Errorf("got %d events and %+v, want %d", got, p.Stat(), want)
			}
			aside, err := filepath.Glob(filepath.Join(dir, "wal", "*.corrupt"))
			must(t, err)
			if (len(aside) > 0) != (damage != "none") {
				t.Errorf("got %v set aside", aside)
			}
			if a := appendOne(t, l, "s", "k", "x"); a.First <= rollbackEvents {
				t.Errorf("got offset %d, which was given out before", a.First)
			}
		})
	}
}
