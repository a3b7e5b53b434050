package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// If the sync of the folder fails, for lack of space or any other reason, the next segment may still be in the folder
// after a crash. The log therefore fails.
func TestRoll_UnsyncedFolderEndsTheLog(t *testing.T) {
	var failing atomic.Bool
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10}.WithFolderSync(func(d *os.File) error {
		if failing.Load() {
			return fmt.Errorf("sync: %w", syscall.ENOSPC)
		}
		return d.Sync()
	})
	l := open(t, o)
	appendOne(t, l, "s", "k", "x")
	failing.Store(true)
	for range 40 {
		if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 10_000))}}); err != nil {
			if !errors.Is(err, wal.ErrFailed) {
				t.Errorf("got %v, want ErrFailed", err)
			}
			return
		}
	}
	t.Errorf("got %+v after 40 appends, want the log to fail", l.Stat())
}

// The file that names the newest segment is on disk when Open returns: Open syncs the folder after it creates the file.
func TestOpen_SyncsTheNumberOfTheNewest(t *testing.T) {
	named := false
	dir := t.TempDir()
	open(t, wal.Options{Dir: dir}.WithFolderSync(func(d *os.File) error {
		found, err := filepath.Glob(filepath.Join(dir, "wal", "*.begun"))
		must(t, err)
		named = len(found) > 0
		return d.Sync()
	}))
	if !named {
		t.Error("the last sync of the folder came before the file")
	}
}

// The error for full dead letters includes the bytes of the letters that this process has stored.
func TestDeadLetters_FullErrorCountsThem(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20})
	d := l.OpenDeadLetters(nil)
	defer d.Close()
	stored := int64(putUntilFull(t, d, rand.New(rand.NewPCG(1, 2)), 20_000))
	for range 100 { // the letter that was rejected may have been the largest
		err := d.Put(sized(20_000))
		if err == nil {
			stored++
			continue
		}
		var full *deadletter.FullError
		if !errors.As(err, &full) || full.Used < stored*5_000 || full.Used > full.Max {
			t.Errorf("got %v with %d letters, want the bytes that they take", err, stored)
		}
		return
	}
	t.Error("the dead letters do not fill")
}

// compacting is a log with sealed segments in which only the events of one lane are live.
type compacting struct {
	*wal.Log
	shrunk atomic.Int32
	stuck  *live
}

// compactingText returns the text of the event at index i: no other is like it.
func compactingText(i int) string { return fmt.Sprintf("%01000d", i) }

func newCompacting(t *testing.T, o wal.Options, copied func()) *compacting {
	t.Helper()
	c := &compacting{}
	o.SegmentSize, o.MaxSize = 256<<10, 32<<20
	c.Log = open(t, o.Rewriting().WithCompactStep(func(step string) {
		switch step {
		case "copied":
			copied()
		case "shrunk":
			c.shrunk.Add(1)
		}
	}))
	p, err := c.OpenCursor("s", "d")
	must(t, err)
	lane := wal.LaneOf("k0")
	c.stuck = &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane == lane }}
	for i := 0; c.Stat().Segments < 4; i++ {
		appendOne(t, c.Log, "s", fmt.Sprint("k", i%10), compactingText(i))
	}
	return c
}

// A segment keeps its file while its events are being counted.
func TestCompaction_WaitsForACount(t *testing.T) {
	var c *compacting
	var release atomic.Pointer[func()]
	c = newCompacting(t, wal.Options{Dir: t.TempDir()}, func() {
		if release.Load() == nil {
			f := c.Hold()
			release.Store(&f)
		}
	})
	c.stuck.deliver(t, c.Log)
	rewritten(t, c.Log)
	if release.Load() == nil {
		t.Fatal("nothing was compacted; nothing is tested")
	}
	if n := c.shrunk.Load(); n != 0 {
		t.Errorf("got %d segments replaced during a count", n)
	}
	(*release.Load())()
}

// Events whose settlement is only in memory are needed after a crash, so compaction keeps them.
func TestCompaction_KeepsWhatNoCheckpointHas(t *testing.T) {
	var full atomic.Bool
	o := wal.Options{Dir: t.TempDir()}.WithFaults(func() error {
		if full.Load() {
			return wal.ErrNoSpace
		}
		return nil
	}, nil)
	c := newCompacting(t, o, func() {})
	sync(t, c.Log)
	full.Store(true)
	settleAll(c.Log, c.stuck.place, c.stuck.place.Stat().Pending)
	c.Compact()
	c.AwaitCompaction()
	if n := c.shrunk.Load(); n != 0 {
		t.Errorf("got %d segments replaced, before a checkpoint has what was settled", n)
	}
	full.Store(false)
}

// A segment with a damaged block is not compacted: its readers report the block.
func TestCompaction_HidesNoDamage(t *testing.T) {
	dir := t.TempDir()
	c := newCompacting(t, wal.Options{Dir: dir}, func() {})
	must(t, c.Close())
	path := segmentFiles(t, dir)[0]
	i := rand.IntN(100)
	// Pages that are free by now may hold copies of the block.
	edit(t, path, func(b []byte) []byte { return flipped(b, []byte(compactingText(i)), 0, 1) })
	if len(verify(t, dir).Damage) == 0 {
		t.Fatalf("event %d is not damaged; nothing is tested", i)
	}
	l := open(t, wal.Options{Dir: dir, SegmentSize: 256 << 10, MaxSize: 32 << 20}.Rewriting())
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	last, stuck := l.Next("s"), wal.LaneOf("k0")
	s := wal.Settlement{Lanes: make(map[uint8]wal.Progress)}
	for lane := range uint8(wal.Lanes) {
		if lane != stuck {
			s.Lanes[lane] = wal.Progress{Checkpoint: last}
		}
	}
	for i := range last - 1 {
		if wal.LaneOf(fmt.Sprint("k", i%10)) != stuck {
			s.Add.Delivered.Add(wal.Count{Events: 1, Bytes: 1000})
		}
	}
	must(t, p.Settle(s))
	sync(t, l)
	rewritten(t, l)
	damage := verify(t, dir).Damage
	if !slices.ContainsFunc(damage, func(e *wal.CorruptError) bool { return e.File == path && strings.Contains(e.Reason, "checksum") }) {
		t.Errorf("got damage %v, want that of the block of event %d; segments %v", damage, i, segmentFiles(t, dir))
	}
}
