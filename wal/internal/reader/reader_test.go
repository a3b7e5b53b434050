package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/layout"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/reader"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// log is segments with the events of stream "s".
type log struct {
	t     *testing.T
	dir   string
	files segfile.Files
	set   *liveset.Set
	all   []segment.Event
	bytes uint64
}

func newLog(t *testing.T) *log {
	l := &log{t: t, dir: t.TempDir(), set: liveset.New(func() {})}
	l.set.Begin(l.create(1))
	t.Cleanup(func() {
		if err := l.set.CloseForGood(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *log) create(seq uint64) *liveset.Segment {
	l.t.Helper()
	seg := liveset.NewSegment(segfile.New(l.dir, seq, &l.files, hclog.NewNullLogger()))
	fill := func() error {
		return seg.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket(segment.BucketBlocks)
			_, err2 := tx.CreateBucket(segment.BucketState)
			return errors.Join(segment.PutMeta(tx, "log", seq, 0), err, err2)
		})
	}
	if err := seg.Create(1<<20, fill, func() error { return nil }); err != nil {
		l.t.Fatal(err)
	}
	return seg
}

// append appends the events in one commit.
func (l *log) append(events []segment.Event) {
	l.t.Helper()
	var frames layout.Frames
	size := int64(0)
	for i := range events {
		size += int64(segment.FrameSize(&events[i]))
	}
	frames.Encode("s", events, size, false)
	newest := l.set.Newest()
	var b layout.Builder
	b.Reset(newest.End(), time.Now().UnixNano(), frames.Len())
	b.StartStream("s", uint64(len(l.all))+1, l.bytes)
	b.Add(&frames)
	blocks, end := b.Finish()
	if err := newest.Update(func(tx *bolt.Tx) error { return newest.PutBlocks(tx, blocks) }); err != nil {
		l.t.Fatal(err)
	}
	index := newest.Stored(blocks, end)
	l.set.Publish(newest, func(to liveset.Spans) { to.Put("s", index.Span("s")) })
	for i := range events {
		e := events[i]
		e.Offset, e.Lane = uint64(len(l.all))+1, segment.LaneOf(e.Key)
		l.all, l.bytes = append(l.all, e), l.bytes+uint64(len(e.Data))
	}
}

// roll seals the newest segment, and begins another.
func (l *log) roll() {
	l.t.Helper()
	old := l.set.Newest()
	if err := old.Update(func(tx *bolt.Tx) error { return old.PutSeal(tx, nil) }); err != nil {
		l.t.Fatal(err)
	}
	old.Sealed()
	l.set.Roll(old, l.create(old.Seq+1))
	if err := old.Retire(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) reader() *reader.Reader {
	return &reader.Reader{Segments: l.set, End: func(string) uint64 { return uint64(len(l.all)) + 1 }, Patience: time.Minute}
}

// For drawn batches, rolls, lanes and limits: the chunks have exactly the wanted events, in order.
func TestRead_ReturnsTheWantedEventsInOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newLog(t)
	for range 12 {
		var events []segment.Event
		for range 1 + r.IntN(40) {
			events = append(events, segment.Event{Key: fmt.Sprint("k", r.IntN(30)), Data: bytes.Repeat([]byte{'x'}, r.IntN(300))})
		}
		l.append(events)
		if r.IntN(3) == 0 {
			l.roll()
		}
	}
	rd := l.reader()
	for range 60 {
		lanes, from, limit := segment.LaneSet(r.Uint64()), 1+r.Uint64N(uint64(len(l.all))), 1+r.IntN(20_000)
		var want, got []segment.Event
		for _, e := range l.all[from-1:] {
			if lanes.Has(e.Lane) {
				want = append(want, e)
			}
		}
		for next, end := from, false; !end; {
			chunk, err := rd.Read("s", next, lanes, limit)
			if err != nil {
				t.Fatal(err)
			}
			if !chunk.End && chunk.Next <= next {
				t.Fatalf("a chunk from %d ends at %d", next, chunk.Next)
			}
			got, next, end = append(got, chunk.Events...), chunk.Next, chunk.End
		}
		if len(got) != len(want) {
			t.Fatalf("got %d events from %d, want %d", len(got), from, len(want))
		}
		for i := range want {
			if g, w := &got[i], &want[i]; g.Offset != w.Offset || g.Lane != w.Lane || g.Key != w.Key || !bytes.Equal(g.Data, w.Data) {
				t.Fatalf("got event %d with %d bytes, want %d with %d", g.Offset, len(g.Data), w.Offset, len(w.Data))
			}
		}
	}
}

// A read of a segment that was removed continues behind it.
func TestRead_ContinuesBehindARemovedSegment(t *testing.T) {
	l := newLog(t)
	l.append([]segment.Event{{Key: "k", Data: []byte("a")}, {Key: "k", Data: []byte("b")}})
	l.roll()
	l.append([]segment.Event{{Key: "k", Data: []byte("c")}})
	look, _ := l.set.Look()
	l.set.Remove([]*liveset.Segment{l.set.Sealed()[0].Segment}, look)
	chunk, err := l.reader().Read("s", 1, segment.AllLanes, 1<<20)
	if err != nil || len(chunk.Events) != 1 || chunk.Events[0].Offset != 3 || !chunk.End || chunk.Next != 4 {
		t.Errorf("got %+v, %v", chunk, err)
	}
}

// Await finds the lanes of a batch. Events that the log no longer holds count as settled.
func TestAwait_FindsTheLanesOfARun(t *testing.T) {
	l := newLog(t)
	l.append([]segment.Event{{Key: "k", Data: []byte("a")}})
	l.roll()
	l.append([]segment.Event{{Key: "k", Data: []byte("b")}, {Key: "k", Data: []byte("c")}})
	for _, run := range []segment.Run{{First: 1, Next: 4}, {First: 2, Next: 3}, {First: 3, Next: 9}} {
		w, err := l.reader().Await("s", run)
		if err != nil {
			t.Fatal(err)
		}
		if want := run.Next > 4; w.Gone != want || w.Run != run {
			t.Errorf("run %v: got %v, gone %v, want %v", run, w.Run, w.Gone, want)
		}
	}
}
