package loss

import (
	"fmt"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Search is the input for finding the lost events of a destination: those that are not settled and not in the log.
type Search struct {
	Stream  string
	Lanes   [segment.Lanes]segment.Progress
	Needed  segment.Run   // the destination gets no event outside of it: those below are settled
	Settled segment.Count // of all lanes

	// Set by Examine, and valid as long as no segment is unlinked or compacted.
	appended segment.Count
	parts    []heldPart

	// Set by Find.
	Gaps       []segment.Run // without a segment
	Unreadable []segment.Run
}

// heldPart is the part of a stream in one segment.
type heldPart struct {
	segment.Span
	plain bool // all events of it can be read, as far as is known
}

// Examine finds the segments that hold needed events of the stream. appended returns the count of the events that the
// destination gets; it is called while the lock of the set is held.
func (c *Counter) Examine(s *Search, appended func() segment.Count) {
	c.Segments.WithParts(s.Stream, func(parts []liveset.Part) {
		s.appended, s.parts = appended(), nil
		for _, part := range parts {
			if part.Next > s.Needed.First && part.First < s.Needed.Next {
				s.parts = append(s.parts, heldPart{part.Span, !part.Gapped && len(part.Bad) == 0})
			}
		}
	})
}

// between reports whether the destination needs some events of the part only, so that each of them must be read.
func (s *Search) between(p *heldPart) bool {
	if p.Next > s.Needed.Next {
		return true
	}
	for i := range s.Lanes {
		m := &s.Lanes[i]
		if m.Checkpoint > p.First || slices.ContainsFunc(m.Settled, func(r segment.Run) bool { return r.First < p.Next && p.First < r.Next }) {
			return true
		}
	}
	return false
}

// Bytes estimates the bytes that Find will read.
func (s *Search) Bytes() (n uint64) {
	for i := range s.parts {
		if p := &s.parts[i]; s.between(p) {
			n += compact.Weight(p.Count())
		}
	}
	return n
}

// Find counts the lost events, and finds the runs that had them.
func (c *Counter) Find(s *Search) (lost segment.Count, err error) {
	held, next := segment.Count{}, s.Needed.First
	s.Gaps, s.Unreadable = nil, nil
	for i := range s.parts {
		p := &s.parts[i]
		if p.First > next {
			s.Gaps = append(s.Gaps, segment.Run{First: next, Next: p.First})
		}
		there := p.Count()
		if s.between(p) || !p.plain {
			var bad []segment.Run
			if there, bad, err = c.Unsettled(s.Stream, &s.Lanes, max(s.Needed.First, p.First), min(p.Next, s.Needed.Next)); err != nil {
				return lost, err
			}
			s.Unreadable = append(s.Unreadable, bad...)
		}
		held.Add(there)
		next = p.Next
	}
	if end := s.appended.Events + 1; next < end {
		s.Gaps = append(s.Gaps, segment.Run{First: next, Next: end})
	}
	return s.appended.Beyond(s.Settled.Plus(held)), nil
}

// Runs returns the runs with lost events, ascending.
func (s *Search) Runs() []segment.Run {
	return segment.Progress{Settled: slices.Concat(s.Gaps, s.Unreadable)}.With(segment.Progress{}).Settled
}

// Before returns the part of the lost events that lie before the offset, for a destination that settles all lanes together:
// beyond the lowest checkpoint, a lane has only settled single events, or losses of all lanes. If events on both sides of
// the offset are lost, the bytes are divided in proportion.
func (s *Search) Before(lost segment.Count, offset uint64) segment.Count {
	var settled segment.Progress
	for i := range s.Lanes {
		m := &s.Lanes[i]
		settled = segment.Progress{Settled: append([]segment.Run{{First: s.Needed.First, Next: m.Checkpoint}}, m.Settled...)}.With(settled)
	}
	var before, all uint64
	for _, r := range s.Runs() {
		for at := r.First; at < r.Next; at++ {
			if settled.Done(at) {
				continue
			}
			if all++; at < offset {
				before++
			}
		}
	}
	switch {
	case before == all:
		return lost
	case before == 0:
		return segment.Count{}
	}
	return segment.Count{Events: min(before, lost.Events), Bytes: lost.Bytes / all * before}
}

// Covered reports whether the log holds all needed events of the stream, which ends at next.
func (c *Counter) Covered(s *Search, next uint64) bool {
	from := s.Needed.First
	next = min(next, s.Needed.Next)
	for _, part := range c.Segments.Parts(s.Stream) {
		if from >= next {
			break
		}
		if from < part.First && !Settles(&s.Lanes, segment.Run{First: from, Next: part.First}) {
			return false
		}
		from = max(from, part.Next)
	}
	return from >= next || Settles(&s.Lanes, segment.Run{First: from, Next: next})
}

// Text formats runs of offsets, such as "11-20, 35".
func Text(runs []segment.Run) string {
	const most = 10
	var parts []string
	for i, r := range runs {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(runs)-most))
			break
		}
		parts = append(parts, r.String())
	}
	return strings.Join(parts, ", ")
}
