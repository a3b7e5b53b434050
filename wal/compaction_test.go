package wal_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// Each destination, also a parked one, is stuck in a lane of its own. Compaction keeps every event that any destination
// needs.
func TestCompaction_KeepsWhatAnyDestinationNeeds(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 32 << 20}.Rewriting())
	var all []*live
	for i, name := range []string{"a", "b", "parked", "settled"} {
		p, err := l.OpenCursor("s", name)
		must(t, err)
		lane := wal.LaneOf(fmt.Sprint("k", i))
		all = append(all, &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane == lane && name != "settled" }})
	}
	for range 4 {
		for i, from := 0, l.Stat().Segments; l.Stat().Segments < from+3; i++ {
			appendOne(t, l, "s", fmt.Sprint("k", i%50), strings.Repeat("x", 1000))
		}
		for _, s := range all {
			s.deliver(t, l)
		}
		all[2].place.Close()
		rewritten(t, l)
	}
	held := make(map[uint64]bool)
	for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
		held[e.Offset] = true
	}
	if n := l.Next("s") - 1; uint64(len(held)) > n/2 {
		t.Errorf("%d of %d events are held; nothing was compacted", len(held), n)
	}
	for _, s := range all {
		for offset := range s.kept {
			if !held[offset] {
				t.Fatalf("%s waits for event %d, which is gone", s.place.Name(), offset)
			}
		}
		if st := s.place.Stat(); st.Pending.Events != uint64(len(s.kept)) {
			t.Errorf("%s: got %+v, want %d pending", s.place.Name(), st, len(s.kept))
		}
	}
}

// When blocks are joined, the joined block takes the time of the last one, so that max_age drops no event too early.
func TestCompaction_MakesNoEventSeemOlder(t *testing.T) {
	start, ahead := time.Now(), atomic.Int64{}
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 32 << 20, Clock: func() time.Time {
		return start.Add(time.Duration(ahead.Load()))
	}}.Rewriting()
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	lane := wal.LaneOf("k0")
	s := &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane == lane }}
	appended := make(map[uint64]time.Time)
	for i := 0; l.Stat().Segments < 5; i++ {
		ahead.Add(int64(time.Minute))
		appended[appendOne(t, l, "s", fmt.Sprint("k", i%20), strings.Repeat("x", 1000)).First] = o.Clock()
	}
	s.deliver(t, l)
	rewritten(t, l)
	joined := 0
	for _, e := range readAll(t, l, "s", 1, wal.LaneSet(0).With(lane)) {
		st := p.Stat()
		if st.Checkpoint != e.Offset {
			t.Fatalf("got checkpoint %d, want %d", st.Checkpoint, e.Offset)
		}
		if st.OldestPending.Before(appended[e.Offset]) {
			t.Errorf("event %d: got appended at %v, want not before %v", e.Offset, st.OldestPending, appended[e.Offset])
		}
		if st.OldestPending.After(appended[e.Offset]) {
			joined++
		}
		must(t, p.Settle(wal.Settlement{
			Lanes: map[uint8]wal.Progress{lane: {Checkpoint: nextOf(t, l, lane, e.Offset)}}, Add: wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 1000}},
		}))
	}
	if joined == 0 {
		t.Error("no blocks were joined; nothing is tested")
	}
}

// nextOf returns the offset of the lane's next event after offset, or the end of the stream.
func nextOf(t *testing.T, l *wal.Log, lane uint8, offset uint64) uint64 {
	t.Helper()
	for _, e := range readAll(t, l, "s", offset+1, wal.LaneSet(0).With(lane)) {
		return e.Offset
	}
	return l.Next("s")
}

// The first event that is not too old is dropped to free space, if it is dropped at all.
func TestFloor_TellsTheReason(t *testing.T) {
	f := wal.Floor{Age: 5, Full: 9}
	for offset, want := range map[uint64]string{
		1: wal.DroppedAge, 4: wal.DroppedAge, 5: wal.DroppedFull, 8: wal.DroppedFull,
	} {
		if got := f.Reason(offset); got != want {
			t.Errorf("offset %d: got %q, want %q", offset, got, want)
		}
	}
}

// A segment may be compacted after its last event was settled and before it is unlinked. The copy holds no block, and
// is sound.
func TestCompaction_OfASettledSegmentIsSound(t *testing.T) {
	var block atomic.Bool
	blocked, compacted, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 32 << 20}.Rewriting().WithSettledStep(func() {
		if block.Load() {
			close(blocked)
			<-release
		}
	}).WithCompactStep(func(step string) {
		if step == "shrunk" && block.Swap(false) {
			close(compacted)
		}
	})
	l := open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	for l.Stat().Segments < 3 {
		appendOne(t, l, "s", "k", strings.Repeat("x", 1000))
	}
	block.Store(true)
	settleAll(l, p, p.Stat().Pending)
	go l.Sync(t.Context())
	<-blocked
	l.Compact()
	<-compacted
	l.AwaitCompaction()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(o.Dir)))
	close(release)
	wantSound(t, dir)
	l = open(t, wal.Options{Dir: dir, SegmentSize: o.SegmentSize})
	p, err = l.OpenCursor("s", "d")
	must(t, err)
	if st := p.Stat(); st.Pending.Events != 0 || len(st.Dropped) > 0 {
		t.Errorf("got %+v, want nothing pending and nothing dropped", st)
	}
}

// Batches of a compacted segment are recognized after the newest segment was lost, although only the notes of the blocks, which
// a compaction removes, had them.
func TestCompaction_KeepsNumberedBatches(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 32 << 20}
	l := open(t, o.Rewriting())
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	stuck := wal.LaneOf("k0")
	s := &live{place: p, stuck: func(e *wal.Event) bool { return e.Lane == stuck }}
	sent := make(map[wal.Appended]*wal.Batch)
	for i := 0; l.Stat().Segments < 4; i++ {
		b := &wal.Batch{Stream: "s", ProducerID: fmt.Sprint("p", i%7), ProducerSequence: uint64(i/7) + 1,
			Events: []wal.Event{event(fmt.Sprint("k", i%50), strings.Repeat("x", 1000))}}
		got, err := l.Append(bg, b)
		must(t, err)
		got.Duplicate = true
		sent[got] = b
	}
	appendOne(t, l, "s", "k0", "in the newest segment")
	before := l.Stat().Bytes
	s.deliver(t, l)
	rewritten(t, l)
	if after := l.Stat().Bytes; after > before/2 {
		t.Fatalf("got %d bytes of %d; nothing was compacted", after, before)
	}
	must(t, l.Close())
	overwriteNewest(t, o.Dir)
	l = open(t, o)
	for want, b := range sent {
		if got, err := l.Append(bg, b); err != nil || got != want {
			t.Fatalf("batch %d of %s sent again: got %+v, %v, want %+v", b.ProducerSequence, b.ProducerID, got, err, want)
		}
	}
}
