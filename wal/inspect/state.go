package inspect

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// loggedStream is a stream at one instant, by a segment's state and blocks.
type loggedStream struct {
	name     string
	appended segment.Count
	places   []loggedCursor // by name
	end      uint64         // the number after the last block's when the cursors were read
}

// loggedCursor is a cursor, decoded from its entry of the state.
type loggedCursor struct {
	name string
	at   segment.CursorState
}

// needed returns the offsets that some destination still needs, ascending. A stream without a destination keeps all
// events.
func (s *loggedStream) needed() (runs []segment.Run) {
	if len(s.places) == 0 {
		return []segment.Run{{First: 1, Next: segment.NoEnd}}
	}
	for i := range s.places {
		runs = append(runs, s.places[i].at.Needed())
	}
	slices.SortFunc(runs, func(a, b segment.Run) int { return cmp.Compare(a.First, b.First) })
	merged := runs[:1]
	for _, r := range runs[1:] {
		if last := &merged[len(merged)-1]; r.First <= last.Next {
			last.Next = max(last.Next, r.Next)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// within returns the parts of the run that are in the runs, which are ascending.
func within(run segment.Run, runs []segment.Run) (parts []segment.Run) {
	for _, r := range runs {
		if first, next := max(run.First, r.First), min(run.Next, r.Next); first < next {
			parts = append(parts, segment.Run{First: first, Next: next})
		}
	}
	return parts
}

// events returns the number of offsets in the runs.
func events(runs []segment.Run) (n uint64) {
	for _, r := range runs {
		n += r.Next - r.First
	}
	return n
}

// pending returns the events that the destination has not settled by its own ledger.
func (s *loggedStream) pending(p *loggedCursor) segment.Count {
	return p.at.Parking.Kept(s.appended).Beyond(p.at.Ledger.Settled()) // a damaged segment may show fewer events than were settled
}

// readState reads the state of every stream in the segment, and the span of each stream's blocks. Each stream is
// returned as one transaction left it, but not all of them as the same transaction did.
func readState(ctx context.Context, f *segment.Pages, bad func(*segment.CorruptError)) (map[string]*loggedStream, map[string]segment.Span, error) {
	names, err := stateNames(ctx, f, bad)
	if err != nil {
		return nil, nil, err
	}
	streams := make(map[string]*loggedStream)
	for _, name := range names {
		var s *loggedStream
		err := f.Sound(ctx, func(snap *boltpage.Snapshot) (err error) {
			s, err = readStream(f, snap, name)
			return err
		})
		if err := segment.ReportCorrupt(err, bad); err != nil {
			return nil, nil, err
		}
		streams[name] = s
	}
	x, err := f.IndexBlocks(ctx, bad, func(b *segment.Block) {
		s := streams[b.Stream]
		if s == nil {
			s = &loggedStream{name: strings.Clone(b.Stream), end: segment.UnknownEnd}
			streams[s.name] = s
		}
		s.addHeld(b)
	})
	if err != nil {
		return nil, nil, err
	}
	return streams, x.Spans(), nil
}

// stateNames returns the names of all streams in the segment's state, in order.
func stateNames(ctx context.Context, f *segment.Pages, bad func(*segment.CorruptError)) ([]string, error) {
	known := make(map[string]bool)
	for _, kind := range []byte{segment.StateStream, segment.StateCursor} {
		err := f.Elements(ctx, segment.BucketState, []byte{kind}, func(e boltpage.Element) error {
			if _, names, ok := segment.SplitStateKey(e.Key); ok && len(names) > 0 {
				known[names[0]] = true
			}
			return nil
		}, segment.Pass(bad))
		if err != nil {
			return nil, err
		}
	}
	return segment.SortedKeys(known), nil
}

// readStream reads a stream's entries of the state.
func readStream(f *segment.Pages, snap *boltpage.Snapshot, name string) (*loggedStream, error) {
	s := &loggedStream{name: name}
	key := segment.StateKey(segment.StateStream, name)
	v, err := snap.Value(segment.BucketState, key)
	if err != nil {
		return s, err
	}
	if v != nil {
		if v, err = segment.StateValue(key, v, f.Summed); err != nil {
			return s, f.Fault(fmt.Errorf("the state of stream %q: %w", name, err))
		}
		var stood segment.StreamState
		err := stood.Decode(v)
		if s.appended = stood.Appended(); err != nil {
			return s, f.Corrupt("the state of stream %q: %v", name, err)
		}
	}
	if err := readCursors(f, snap, s); err != nil {
		return s, err
	}
	s.end, err = segment.EndOfBlocks(snap)
	return s, segment.IgnoreCorrupt(err) // the blocks' reader reports the damage
}

// addHeld adds the events that were appended since the segment began, up to the transaction that the stream's state
// was read from.
func (s *loggedStream) addHeld(b *segment.Block) {
	if b.Number < s.end && b.Next() > s.appended.Events+1 {
		s.appended = segment.Count{Events: b.Next() - 1, Bytes: b.Before + b.Bytes}
	}
}

// readCursors reads the cursors of a stream's destinations from the state.
func readCursors(f *segment.Pages, snap *boltpage.Snapshot, s *loggedStream) error {
	prefix := segment.StateKey(segment.StateCursor, s.name)
	for key := prefix; ; {
		leaf, after, err := snap.LeafOf(segment.BucketState, key)
		if err != nil {
			return err
		}
		err = boltpage.VisitFrom(leaf, key, prefix, func(e boltpage.Element) error { return s.addCursor(e, f.Summed) })
		if err != nil {
			return f.Fault(fmt.Errorf("a destination of stream %q: %w", s.name, err))
		}
		if after == nil || !bytes.HasPrefix(after, prefix) {
			return nil
		}
		key = after
	}
}

func (s *loggedStream) addCursor(e boltpage.Element, summed bool) error {
	_, names, ok := segment.SplitStateKey(e.Key)
	if !ok || len(names) != 2 {
		return fmt.Errorf("a state key of %d bytes is malformed", len(e.Key))
	}
	s.places = append(s.places, loggedCursor{name: names[1]})
	v, err := segment.StateValue(e.Key, e.Value, summed)
	if err != nil {
		return err
	}
	return s.places[len(s.places)-1].at.Decode(v)
}
