package inspect

import (
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// MissingRun is a run of offsets that were given out and that no segment holds: lost, and not truncated. Before
// the oldest segment that can be read nobody knows where it begins, once every destination is done with it: then
// First is 0, and some of the offsets, or all, may have been truncated before.
type MissingRun struct {
	Stream string
	segment.Run
	// Why names the files between whose neighbours the run lies: set aside, or unreadable where they are.
	// Without one a segment is gone, or its successor was.
	Why []string
}

// findMissing looks at what lies between the segments, once they and the places are known. What every
// destination is done with may have been truncated: it is missing only beside a file that can't be read.
func (r *inspecting) findMissing() {
	for _, st := range r.Streams {
		m := missing{inspecting: r, stream: st.Name, low: r.streams[st.Name].low()}
		for i := range r.Segments {
			for _, held := range r.Segments[i].Streams {
				if held.Stream == st.Name {
					m.segment(r.Segments[i].Seq, held)
				}
			}
		}
		m.until(0, st.Next)
	}
}

// missing is a stream's search, from its oldest segment to its newest.
type missing struct {
	*inspecting
	stream string
	low    uint64 // the first offset that some destination waits for; 0: there is no destination
	seq    uint64 // the segment that was looked at last; 0: none
	next   uint64 // where that ends
}

func (m *missing) segment(seq uint64, held SegmentStream) {
	m.until(seq, held.First)
	m.seq, m.next = seq, held.Next
}

// until judges the offsets before first, which the segment seq begins with; 0: after the newest.
func (m *missing) until(seq, first uint64) {
	run := segment.Run{First: m.next, Next: first}
	why := m.unreadable(m.seq, seq)
	switch {
	case m.next == 0 && len(why) > 0 && (m.low == 0 || m.low >= first):
		run.First = 0
	case m.next == 0 && m.low == 0:
		return // nobody knows where it should begin
	case m.next == 0 || len(why) == 0:
		run.First = max(m.next, m.low)
	}
	if max(run.First, 1) < run.Next {
		m.Missing = append(m.Missing, MissingRun{m.stream, run, why})
	}
}

// unreadable returns the files that can't be read and whose numbers lie between two segments'.
func (m *missing) unreadable(after, before uint64) (names []string) {
	between := func(seq uint64) bool { return seq > after && (before == 0 || seq < before) }
	for i := range m.Segments {
		if s := &m.Segments[i]; s.State == SegmentUnreadable && between(s.Seq) {
			names = append(names, s.Name)
		}
	}
	for _, f := range m.SetAside {
		if seq, ok := segment.AsideSeqOf(f.Name); ok && between(seq) {
			names = append(names, f.Name)
		}
	}
	return names
}
