package inspect

import (
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// MissingRun is a run of assigned offsets that no segment holds, and that were lost and not truncated. First is 0 if
// the beginning of the run is unknown: the run lies before the oldest readable segment, and no destination waits for
// its events. Then some or all of its offsets may have been truncated before.
type MissingRun struct {
	Stream string
	segment.Run
	// Why lists the files that may have held the run: segments between the run's neighbors that were set aside, or
	// that are in their place and unreadable. If it is empty, a segment is gone, or the segment after it was gone when
	// an agent started.
	Why []string
}

// findMissing looks for offsets that are missing between the segments, after the segments and the cursors have been
// read. Offsets that every destination has settled may have been truncated. They count as missing only beside a file
// that cannot be read.
func (r *inspecting) findMissing() {
	for _, st := range r.Streams {
		m := missing{inspecting: r, stream: st.Name, needed: r.streams[st.Name].needed(), kept: len(r.streams[st.Name].places) == 0}
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

// missing is the search in one stream, from its oldest segment to its newest.
type missing struct {
	*inspecting
	stream string
	needed []segment.Run // the offsets that some destination waits for
	kept   bool          // there is no destination
	seq    uint64        // the last segment that was visited; 0: none
	next   uint64        // the offset after that segment's events
}

func (m *missing) segment(seq uint64, held SegmentStream) {
	m.until(seq, held.First)
	m.seq, m.next = seq, held.Next
}

// until judges the offsets between the last visited segment and first, where the segment seq begins. seq 0: first is
// the end of the stream.
func (m *missing) until(seq, first uint64) {
	run := segment.Run{First: m.next, Next: first}
	why := m.unreadable(m.seq, seq)
	runs := []segment.Run{run}
	switch {
	case m.next == 0 && len(why) > 0 && (m.kept || len(within(run, m.needed)) == 0):
	case m.next == 0 && m.kept:
		return // the beginning is unknown
	case m.next == 0 || len(why) == 0:
		runs = within(run, m.needed)
	}
	for _, run := range runs {
		if max(run.First, 1) < run.Next {
			m.Missing = append(m.Missing, MissingRun{m.stream, run, why})
		}
	}
}

// unreadable returns the files that cannot be read and whose numbers lie between those of two segments.
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
