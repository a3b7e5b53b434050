//go:build linux

package wal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// smallDisks are disks of some MiB.
var smallDisks = map[string]func(t testing.TB, mib int64) (*disk, error){
	"tmpfs": func(t testing.TB, mib int64) (*disk, error) { return newMemory(t, fmt.Sprintf("size=%dm", mib)) },
	"ext4": func(t testing.TB, mib int64) (*disk, error) {
		d, err := newDisk(t, t.TempDir(), mib<<20, "mkfs.ext4")
		if err == nil {
			err = d.Attach()
		}
		return d, err
	},
}

// A queue that needs space to delete delivered events never recovers from a full disk. The log does.
func TestNoSpace_FullDiskDoesNotWedgeTheQueue(t *testing.T) {
	for name, make := range smallDisks {
		t.Run(name, func(t *testing.T) {
			d, err := make(t, 8)
			if err != nil {
				notTested(t, "a full disk, since this process may not mount one", err)
				return
			}
			fillToTheLastBlock(t, d)
			d.Detach()
		})
	}
}

func fillToTheLastBlock(t *testing.T, d *disk) {
	t.Helper()
	o := wal.Options{Dir: filepath.Join(d.Mount, "data"), SegmentSize: 1 << 20}
	l, err := wal.Open(t.Context(), o)
	must(t, err)
	p, _ := l.OpenCursor("s", "d")
	stored := fill(t, l, "s", 10_000, 1)
	last := fillDisk(t, d.Mount)
	for range 3 { // the later rounds find no free space at all
		stored.Add(fill(t, l, "s", 10, 1))
	}
	if err := l.Failed(); err != nil || !l.Full() {
		t.Fatalf("got failed %v, full %v", err, l.Full())
	}
	settleFirst(t, l, p, stored.Events/2)
	if got := l.Stat().Segments; got > 4 {
		t.Errorf("got %d segments when half is settled, want those unlinked", got)
	}
	// The last checkpoint is written, and the log opens again, although the disk has no free space.
	fillDisk(t, d.Mount)
	must(t, l.Close())
	l = open(t, o)
	defer l.Close() // before the file system is unmounted
	p, _ = l.OpenCursor("s", "d")
	if st := p.Stat(); st.Pending.Events != stored.Events-stored.Events/2 {
		t.Errorf("got %+v pending, want half of %+v", st.Pending, stored)
	}
	settleAll(l, p, p.Stat().Pending)
	sync(t, l)
	if got := l.Stat(); got.Segments != 1 {
		t.Errorf("got %+v once all is settled, want one segment", got)
	}
	for _, file := range []string{last, last + "2"} {
		must(t, os.Remove(file))
	}
	if got := appendOne(t, l, "s", "k", "x").First; got != stored.Events+1 {
		t.Errorf("got offset %d, want %d", got, stored.Events+1)
	}
	must(t, l.Close())
}

// Retained segments are unlinked before an append finds no space, whoever fills the disk.
func TestNoSpace_RetainedSegmentsGoFirst(t *testing.T) {
	for name, make := range smallDisks {
		t.Run(name, func(t *testing.T) {
			d, err := make(t, 16)
			if err != nil {
				notTested(t, "a full disk, since this process may not mount one", err)
				return
			}
			l, err := wal.Open(t.Context(), wal.Options{Dir: filepath.Join(d.Mount, "data"), SegmentSize: 256 << 10, Retain: time.Hour})
			must(t, err)
			p, _ := l.OpenCursor("s", "d")
			for range 400 {
				appendOne(t, l, "s", "k", strings.Repeat("x", 20_000))
				settleAll(l, p, p.Stat().Pending)
				sync(t, l)
			}
			if got := l.Stat(); got.RetainedSegments < 20 {
				t.Fatalf("got %+v, want many segments retained", got)
			}
			fillDisk(t, d.Mount)
			for range 10 { // they have more bytes than that
				appendOne(t, l, "s", "k", strings.Repeat("x", 50_000))
			}
			if got := l.Stat(); got.RetainedSegments == 0 {
				t.Errorf("got %+v, want no more segments unlinked than the appends need", got)
			}
			fill(t, l, "s", 50_000, 1)
			if got := l.Stat(); got.RetainedBytes > 0 {
				t.Errorf("got %+v when an append was rejected, want nothing retained", got)
			}
			must(t, l.Close())
			d.Detach()
		})
	}
}

// settleFirst settles the first n events and syncs the log.
func settleFirst(t testing.TB, l *wal.Log, p *wal.Cursor, n uint64) {
	t.Helper()
	settleLanes(t, l, p.Stream(), p.Name(), func(uint8) uint64 { return n + 1 })
	sync(t, l)
}

// fillDisk uses up all free blocks, and returns the file that holds them.
func fillDisk(t testing.TB, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "filler")
	if _, err := os.Stat(file); err == nil {
		file += "2"
	}
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	for size := 64 << 10; size >= 512; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// On a disk without a free inode, the log cannot create the next segment, and the newest one keeps growing.
func TestNoSpace_DiskWithoutInodes(t *testing.T) {
	d, err := newMemory(t, "size=64m,nr_inodes=7") // the folders, the lock and the number of the newest take five of them
	if err != nil {
		notTested(t, "a disk without inodes", err)
		return
	}
	o := wal.Options{Dir: filepath.Join(d.Mount, "data"), SegmentSize: 64 << 10}
	l, err := wal.Open(t.Context(), o)
	must(t, err)
	l.OpenCursor("s", "d")
	appendTexts(t, l, 0, 40)
	if got := l.Stat().Segments; got != 2 {
		t.Errorf("got %d segments, want the 2 that there are inodes for", got)
	}
	must(t, l.Close())
	l = open(t, o)
	defer l.Close()
	p, _ := l.OpenCursor("s", "d")
	settleFirst(t, l, p, 10)
	appendTexts(t, l, 40, 60)
	must(t, d.Remount("size=64m,nr_inodes=100"))
	appendTexts(t, l, 60, 80)
	if got := l.Stat().Segments; got < 3 {
		t.Errorf("got %d segments once there are inodes", got)
	}
	checkTexts(t, l, 80)
	must(t, l.Close())
	wantSound(t, o.Dir)
	d.Detach()
}

func TestNoSpace_NewLogOnADiskWithoutInodesFails(t *testing.T) {
	d, err := newMemory(t, "size=64m,nr_inodes=4")
	if err != nil {
		notTested(t, "a disk without inodes", err)
		return
	}
	l, err := wal.Open(t.Context(), wal.Options{Dir: filepath.Join(d.Mount, "data")})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want no space", err)
	}
	if err == nil {
		must(t, l.Close())
	}
}

// checkTexts reads the pending events and checks that they are the texts from the checkpoint on. In total there must be
// n texts, or one more.
func checkTexts(t testing.TB, l *wal.Log, n int) {
	t.Helper()
	p, _ := place(l, "s", "d")
	next := p.Stat().Checkpoint
	for _, e := range readAll(t, l, "s", next, wal.AllLanes) {
		if want := fmt.Sprintf("%010000d", next-1); e.Offset != next || string(e.Data) != want {
			t.Fatalf("got %.20q at %d, want %.20q at %d", e.Data, e.Offset, want, next)
		}
		next++
	}
	if got := int(next - 1); got < n || got > n+1 {
		t.Errorf("got %d events, want %d and at most one more", got, n)
	}
}

// An overcommitted disk, with less space than it reports, accepts writes and runs out of space when they are synced. A
// small journal already has its blocks by then, and it is the events that find none: one sync returns the error, and
// the next syncs return success. With a large journal, it is the journal that finds none, and the file system stops.
func TestNoSpace_FoundLate(t *testing.T) {
	for name, journal := range map[string]string{"events": "size=4", "journal": "size=16"} {
		t.Run(name, func(t *testing.T) {
			below, err := newMemory(t, "size=24m")
			if err != nil {
				notTested(t, "a disk that runs out of space late", err)
				return
			}
			d, err := newDisk(t, below.Mount, 200<<20, "mkfs.ext4", "-b", "4096", "-J", journal)
			if err == nil {
				err = d.Attach()
			}
			if err != nil {
				notTested(t, "a disk that runs out of space late", err)
				return
			}
			askForPages(t, d)
			o := wal.Options{Dir: filepath.Join(d.Mount, "data"), SegmentSize: 1 << 20}
			acked := appendUntilFailed(t, o)
			d.LetGo()

			must(t, below.Remount("size=240m"))
			must(t, d.Attach())
			l := open(t, o)
			defer l.Close()
			checkTexts(t, l, acked)
			must(t, l.Close())
			wantSound(t, o.Dir)
			d.Detach()
		})
	}
}

// askForPages makes the kernel write single pages to the disk's device. If a longer write has space for its beginning
// only, the loop device of Linux 6.18 reports success, and data is lost that a sync has confirmed.
func askForPages(t *testing.T, d *disk) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(d.Mount, &st))
	limit := fmt.Sprintf("/sys/dev/block/%d:%d/queue/max_sectors_kb", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	must(t, os.WriteFile(limit, []byte("4"), 0))
	t.Cleanup(func() { _ = os.WriteFile(limit, []byte("0"), 0) }) // the former value, if the device still exists
}

// appendUntilFailed appends texts until the log fails, and goes on for a while.
func appendUntilFailed(t *testing.T, o wal.Options) (acked int) {
	t.Helper()
	l, err := wal.Open(t.Context(), o)
	must(t, err)
	failed := 0
	for n := 0; n < 10_000 && failed < 50; n++ {
		_, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", fmt.Sprintf("%010000d", n))}})
		switch {
		case err == nil && failed > 0:
			t.Fatalf("append %d was acked after a sync had failed", n)
		case err == nil:
			acked++
		case errors.Is(err, wal.ErrFailed):
			failed++
		default:
			t.Fatalf("append %d: got %v", n, err)
		}
	}
	if failed == 0 {
		t.Fatalf("got no failure after %d appends", acked)
	}
	t.Logf("%d acked, then %v", acked, l.Failed())
	must(t, l.Close())
	return acked
}
