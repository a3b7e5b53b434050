package wal

import (
	"context"
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// OpenCursor returns the destination's cursor in the stream. It creates the stream and the cursor if they are new. A
// new cursor starts at the oldest event that the log still holds; earlier events count as dropped with the reason
// absent. A parked cursor continues after the present end of the stream, once it has settled the events that it kept:
// the events that were appended while it was parked count as dropped with the reason parked. That is on the disk when
// OpenCursor returns; otherwise a crash would drop later events too. The caller owns the cursor until Close. Until then
// another OpenCursor of it returns ErrCursorOpen.
func (l *Log) OpenCursor(streamName, destination string) (*Cursor, error) {
	if streamName == "" || destination == "" || max(len(streamName), len(destination)) > segment.MaxStreamName {
		return nil, fmt.Errorf("wal: a cursor needs the names of a stream and of a destination of 1 to %d bytes, got %d and %d",
			segment.MaxStreamName, len(streamName), len(destination))
	}
	s := l.streams.pin(streamName)
	defer l.streams.unpin(s)
	p, returned, err := l.openCursor(s, destination)
	if err != nil || !returned {
		return p, err
	}
	if err := l.Sync(context.Background()); err != nil {
		p.Park()
		return nil, fmt.Errorf("return of the parked destination %q of stream %q not stored: %w", destination, s.name, err)
	}
	return p, nil
}

// openCursor is OpenCursor without the wait for the disk. returned reports that the cursor was parked.
func (l *Log) openCursor(s *stream, destination string) (p *Cursor, returned bool, err error) {
	defer l.segments.Hold()() // no event may be unlinked or compacted away between the count of the gaps and the first checkpoint
	gaps, err := l.damage.gapsFor(s, destination)
	if err != nil {
		return nil, false, err
	}
	p, opened, err := l.streams.openCursor(s, destination, gaps)
	if err == nil && opened.bad {
		if err = l.damage.reconcile(p.checkLoss(new(Held))); err != nil {
			p.Close()
		}
	}
	if err != nil {
		return nil, false, err
	}
	l.committer.Touch(CheckpointInterval)
	s.settled.Wake()
	return p, opened.returned, nil
}

// opened has the facts about a cursor that was opened.
type opened struct {
	bad      bool // it is new, and a part of the stream was given up
	returned bool // it was parked
}

// openCursor finds or makes the cursor, and opens it.
func (t *streamTable) openCursor(s *stream, destination string, gaps Count) (p *Cursor, o opened, err error) {
	t.log.segments.WithParts(s.name, func(parts []liveset.Part) { p, o, err = t.openCursorOf(s, destination, parts, gaps) })
	return p, o, err
}

// openCursorOf is openCursor for a stream of these parts, which do not change meanwhile.
func (t *streamTable) openCursorOf(s *stream, destination string, parts []liveset.Part, gaps Count) (p *Cursor, o opened, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.cursors[destination]
	made := p == nil
	if made {
		var spans []segment.Span
		for _, part := range parts {
			spans = append(spans, part.Span)
			o.bad = o.bad || len(part.Bad) > 0
		}
		p = &Cursor{
			log: t.log, stream: s, name: strings.Clone(destination),
			at: cursor.New(cursor.Stream{Next: s.next, Bytes: s.bytes, Base: s.base}, spans, gaps),
		}
		if err := t.log.streams.admitCursorLocked(p); err != nil {
			return nil, o, err
		}
		p.dirtyLocked() // no other goroutine has it yet
		s.cursors[p.name] = p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		return nil, o, fmt.Errorf("%w: destination %q of stream %q", ErrCursorOpen, destination, s.name)
	}
	p.opened, p.rests = true, false
	if o.returned = p.at.Parking.Next > 0; o.returned {
		p.at.Return(s.appendedLocked())
	}
	if made || o.returned {
		p.dirtyLocked() // now that it is complete
	}
	for w := range s.awaited { // the log may have unlinked events of w since w began
		w.Lost = w.Lost || w.LostBy(&p.at) || made && p.at.Lost[0] >= s.next
	}
	return p, o, nil
}

// Cursors returns the cursors of all destinations in the stream, by name.
func (l *Log) Cursors(streamName string) []*Cursor {
	if s := l.streams.lookup(streamName); s != nil {
		return s.sortedCursors()
	}
	return nil
}
