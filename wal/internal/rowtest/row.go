package rowtest

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/layout"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Row is the segments of a log with the events of stream "s".
type Row struct {
	t     testing.TB
	dir   string
	files segfile.Files
	bytes uint64

	Set    *liveset.Set
	Events []segment.Event // all that were appended
}

// New returns a row of one segment, which has begun.
func New(t testing.TB) *Row {
	l := &Row{t: t, dir: t.TempDir(), Set: liveset.New(func() {})}
	l.Set.Begin(l.create(1))
	t.Cleanup(func() {
		if err := l.Set.CloseForGood(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *Row) create(seq uint64) *liveset.Segment {
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

// Append appends the events in one commit.
func (l *Row) Append(events []segment.Event) {
	l.t.Helper()
	var frames layout.Frames
	size := int64(0)
	for i := range events {
		size += int64(segment.FrameSize(&events[i]))
	}
	frames.Encode("s", events, size, &segment.Note{}, false)
	newest := l.Set.Newest()
	var b layout.Builder
	b.Reset(newest.End(), time.Now().UnixNano(), frames.Len())
	b.StartStream("s", uint64(len(l.Events))+1, l.bytes)
	b.Add(&frames, &segment.Note{})
	blocks, end := b.Finish()
	if err := newest.Update(func(tx *bolt.Tx) error { return newest.PutBlocks(tx, blocks) }); err != nil {
		l.t.Fatal(err)
	}
	index := newest.Stored(blocks, end)
	l.Set.Publish(newest, false, func(to liveset.Spans) { to.Put("s", index.Span("s")) })
	for i := range events {
		e := events[i]
		e.Offset, e.Lane = uint64(len(l.Events))+1, segment.LaneOf(e.Key)
		l.Events, l.bytes = append(l.Events, e), l.bytes+uint64(len(e.Data))
	}
}

// Roll seals the newest segment, and begins another.
func (l *Row) Roll() {
	l.t.Helper()
	old := l.Set.Newest()
	if err := old.Update(func(tx *bolt.Tx) error { return old.PutSeal(tx, nil) }); err != nil {
		l.t.Fatal(err)
	}
	old.Sealed()
	l.Set.Roll(old, l.create(old.Seq+1))
	if err := old.Retire(); err != nil {
		l.t.Fatal(err)
	}
}
