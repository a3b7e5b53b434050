package wal

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// loggedStream is a stream as a segment's state and blocks tell it at one instant.
type loggedStream struct {
	name     string
	appended Count
	places   []loggedCursor // by name
	end      uint64         // the number after the last block's when the places were read
}

// loggedCursor is a cursor as its entry of the state tells it.
type loggedCursor struct {
	name string
	at   cursorState
}

// low returns the first offset that some destination still needs; all that a stream without one has.
func (s *loggedStream) low() uint64 {
	low := s.appended.Events + 1
	if len(s.places) == 0 {
		low = 0
	}
	for i := range s.places {
		p := &s.places[i]
		low = min(low, p.at.checkpoint())
	}
	return low
}

// pending returns what the place has not settled by its own account.
func (s *loggedStream) pending(p *loggedCursor) Count {
	return s.appended.beyond(p.at.ledger.settled()) // a damaged segment may show fewer events than were settled
}

// readState reads what the segment says of every stream, and what it holds of each. Each stream is told as
// one transaction left it, but not all of them as the same one did.
func readState(ctx context.Context, f *segmentPages, bad func(*CorruptError)) (map[string]*loggedStream, map[string]span, error) {
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
		if err := tellCorrupt(err, bad); err != nil {
			return nil, nil, err
		}
		streams[name] = s
	}
	x, err := f.indexBlocks(ctx, bad, func(b *block) {
		s := streams[b.stream]
		if s == nil {
			s = &loggedStream{name: strings.Clone(b.stream), end: unknownEnd}
			streams[s.name] = s
		}
		s.addHeld(b)
	})
	if err != nil {
		return nil, nil, err
	}
	return streams, x.spans(), nil
}

// stateNames returns the names of all streams in the segment's state, in order.
func stateNames(ctx context.Context, f *segmentPages, bad func(*CorruptError)) ([]string, error) {
	known := make(map[string]bool)
	for _, kind := range []byte{stateStream, stateCursor} {
		err := f.Elements(ctx, bucketState, []byte{kind}, func(e boltpage.Element) error {
			if _, names, ok := splitStateKey(e.Key); ok && len(names) > 0 {
				known[names[0]] = true
			}
			return nil
		}, pass(bad))
		if err != nil {
			return nil, err
		}
	}
	return sortedKeys(known), nil
}

// readStream reads what the state says of a stream.
func readStream(f *segmentPages, snap *boltpage.Snapshot, name string) (*loggedStream, error) {
	s := &loggedStream{name: name}
	key := stateKey(stateStream, name)
	v, err := snap.Value(bucketState, key)
	if err != nil {
		return s, err
	}
	if v != nil {
		if v, err = stateValue(key, v, f.summed); err != nil {
			return s, f.fault(fmt.Errorf("the state of stream %q: %w", name, err))
		}
		var stood streamState
		err := stood.decode(v)
		if s.appended = stood.appended(); err != nil {
			return s, f.corrupt("the state of stream %q: %v", name, err)
		}
	}
	if err := readCursors(f, snap, s); err != nil {
		return s, err
	}
	s.end, err = endOfBlocks(snap)
	return s, ignoreCorrupt(err) // whoever reads the blocks tells it
}

// addHeld counts what was appended since the segment began, up to the transaction that the rest was
// read of.
func (s *loggedStream) addHeld(b *block) {
	if b.number < s.end && b.next() > s.appended.Events+1 {
		s.appended = Count{b.next() - 1, b.before + b.bytes}
	}
}

// readCursors reads what the state says of a stream's destinations.
func readCursors(f *segmentPages, snap *boltpage.Snapshot, s *loggedStream) error {
	prefix := stateKey(stateCursor, s.name)
	for key := prefix; ; {
		leaf, after, err := snap.LeafOf(bucketState, key)
		if err != nil {
			return err
		}
		err = boltpage.VisitFrom(leaf, key, prefix, func(e boltpage.Element) error { return s.addCursor(e, f.summed) })
		if err != nil {
			return f.fault(fmt.Errorf("a destination of stream %q: %w", s.name, err))
		}
		if after == nil || !bytes.HasPrefix(after, prefix) {
			return nil
		}
		key = after
	}
}

func (s *loggedStream) addCursor(e boltpage.Element, summed bool) error {
	_, names, ok := splitStateKey(e.Key)
	if !ok || len(names) != 2 {
		return fmt.Errorf("a state key of %d bytes is malformed", len(e.Key))
	}
	s.places = append(s.places, loggedCursor{name: names[1]})
	v, err := stateValue(e.Key, e.Value, summed)
	if err != nil {
		return err
	}
	return s.places[len(s.places)-1].at.decode(v)
}
