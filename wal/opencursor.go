package wal

import (
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// OpenCursor returns the destination's cursor in the stream. It creates the stream and the cursor if they are new. A
// new cursor starts at the oldest event that the log still holds; earlier events count as dropped with the reason
// absent. The caller owns the cursor until Close. Until then another OpenCursor of it returns ErrCursorOpen.
func (l *Log) OpenCursor(streamName, destination string) (*Cursor, error) {
	if streamName == "" || destination == "" || max(len(streamName), len(destination)) > segment.MaxStreamName {
		return nil, fmt.Errorf("wal: a cursor needs the names of a stream and of a destination of 1 to %d bytes, got %d and %d",
			segment.MaxStreamName, len(streamName), len(destination))
	}
	s := l.streams.pin(streamName)
	defer l.streams.unpin(s)
	defer l.segments.Hold()() // no event may be unlinked or compacted away between the count of the gaps and the first checkpoint
	gaps, err := l.damage.gapsFor(s, destination)
	if err != nil {
		return nil, err
	}
	p, bad, err := l.streams.openCursor(s, destination, gaps)
	if err == nil && bad {
		if err = l.damage.reconcile(p.checkLoss(new(Held))); err != nil {
			p.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	l.committer.Touch()
	s.settled.Wake()
	return p, nil
}

// openCursor finds or makes the cursor, and opens it. bad reports that the cursor is new and a part of the stream was
// given up.
func (t *streamTable) openCursor(s *stream, destination string, gaps Count) (p *Cursor, bad bool, err error) {
	t.log.segments.WithParts(s.name, func(parts []liveset.Part) { p, bad, err = t.openCursorOf(s, destination, parts, gaps) })
	return p, bad, err
}

// openCursorOf is openCursor for a stream of these parts, which do not change meanwhile.
func (t *streamTable) openCursorOf(s *stream, destination string, parts []liveset.Part, gaps Count) (p *Cursor, bad bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.cursors[destination]
	made := p == nil
	if made {
		var spans []segment.Span
		for _, part := range parts {
			spans = append(spans, part.Span)
			bad = bad || len(part.Bad) > 0
		}
		p = &Cursor{
			log: t.log, stream: s, name: strings.Clone(destination),
			at: cursor.New(cursor.Stream{Next: s.next, Bytes: s.bytes, Base: s.base}, spans, gaps),
		}
		if err := t.log.streams.admitCursorLocked(p); err != nil {
			return nil, false, err
		}
		p.dirtyLocked() // no other goroutine has it yet
		s.cursors[p.name] = p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		return nil, false, fmt.Errorf("%w: destination %q of stream %q", ErrCursorOpen, destination, s.name)
	}
	p.opened, p.rests = true, false
	if made {
		p.dirtyLocked() // now that it is complete
	}
	for w := range s.awaited { // the log may have unlinked events of w since w began
		w.Lost = w.Lost || w.LostBy(&p.at) || made && p.at.Lost[0] >= s.next
	}
	return p, bad, nil
}

// Cursors returns the cursors of all destinations in the stream, by name.
func (l *Log) Cursors(streamName string) []*Cursor {
	if s := l.streams.lookup(streamName); s != nil {
		return s.sortedCursors()
	}
	return nil
}
