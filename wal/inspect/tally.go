package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// blockCheck checks properties that a block's checksums do not cover: that the header agrees with the events, and that
// the count of payload bytes continues that of the block before.
type blockCheck struct {
	next  uint64 // offset after the previous block; 0: none
	bytes uint64
}

// block checks the block, returns the count of its events, and adds it to t.
func (c *blockCheck) block(b *segment.Block, t *tally) (held segment.Count, err error) {
	var lanes segment.LaneSet
	err = b.Each(func(lane uint8, offset uint64, raw []byte) error {
		var e segment.Event
		if err := segment.DecodeEvent(raw, &e); err != nil {
			return err
		}
		if want := segment.LaneOf(e.Key); lane != want {
			return fmt.Errorf("event %d is in lane %d, its key belongs to %d", offset, lane, want)
		}
		lanes = lanes.With(lane)
		held.Add(segment.Count{Events: 1, Bytes: uint64(len(e.Data))})
		return nil
	})
	follows := c.next == b.First
	expected := c.bytes
	c.next, c.bytes = b.Next(), b.Before+b.Bytes
	gaps := uint64(b.Count) > held.Events // it was compacted; its header has the bytes from before that
	switch {
	case err != nil:
		return held, segment.FaultyBlock(err.Error())
	case lanes != b.Lanes:
		return held, segment.FaultyBlock(fmt.Sprintf("the header has the lanes %#x, the events have %#x", uint64(b.Lanes), uint64(lanes)))
	case held.Bytes > b.Bytes || held.Bytes < b.Bytes && !gaps:
		return held, segment.FaultyBlock(fmt.Sprintf("the header has %d bytes of payload, the events have %d", b.Bytes, held.Bytes))
	case follows && b.Before != expected:
		return held, segment.FaultyBlock(fmt.Sprintf("%d bytes of payload before it, want %d", b.Before, expected))
	}
	return held, t.hold(b)
}

// tally is Verify's account of one stream, beside the newest segment's state of it at the beginning.
type tally struct {
	*loggedStream
	held, lost []segment.Run // read, ascending; lost
	live       []uint64      // for each cursor, the events that were read and that it has not settled
	broken     bool          // events after held may lie in blocks that were reported as damaged
}

func newTally(s *loggedStream) *tally {
	return &tally{loggedStream: s, live: make([]uint64, len(s.places))}
}

// next returns the offset after all events that were read; 0: none were.
func (t *tally) next() uint64 {
	if n := len(t.held); n > 0 {
		return t.held[n-1].Next
	}
	return 0
}

// hold adds a good block.
func (t *tally) hold(b *segment.Block) error {
	if n := len(t.held); n > 0 && t.held[n-1].Next == b.First {
		t.held[n-1].Next = b.Next()
	} else {
		t.held = append(t.held, segment.Run{First: b.First, Next: b.Next()})
	}
	for i := range t.places {
		p := &t.places[i]
		needed := p.at.Needed()
		if !needed.Meets(segment.Run{First: b.First, Next: b.Next()}) {
			continue
		}
		_ = b.Each(func(lane uint8, offset uint64, _ []byte) error {
			if offset <= t.appended.Events && offset < needed.Next && !p.at.Lanes[lane].Done(offset) {
				t.live[i]++
			}
			return nil
		}) // the block was checked
	}
	return nil
}

func (t *tally) lose(r segment.Run) {
	if r.First < r.Next {
		t.lost = append(t.lost, r)
	}
}

// holes returns the runs of offsets in [from, next) that were neither read nor given up as lost.
func (t *tally) holes(from, next uint64) (holes []segment.Run) {
	slices.SortFunc(t.lost, func(a, b segment.Run) int { return cmp.Compare(a.First, b.First) })
	held, lost := t.held, t.lost
	for from < next {
		var r segment.Run
		switch {
		case len(held) > 0 && (len(lost) == 0 || held[0].First <= lost[0].First):
			r, held = held[0], held[1:]
		case len(lost) > 0:
			r, lost = lost[0], lost[1:]
		default:
			return append(holes, segment.Run{First: from, Next: next})
		}
		if r.First > from {
			holes = append(holes, segment.Run{First: from, Next: min(r.First, next)})
		}
		from = max(from, r.Next)
	}
	return holes
}

func (t *tally) lostIn(from, next uint64) bool {
	for _, r := range t.lost {
		if r.First < next && from < r.Next {
			return true
		}
	}
	return false
}

// judge compares the events that were read with those that the destinations still need.
func (v *verifying) judge(ctx context.Context, dir string) error {
	now, err := listLog(ctx, dir)
	if err != nil {
		return err
	}
	needed, err := now.needed(ctx)
	if err != nil {
		return err
	}
	v.judgeLast(&now)
	for _, name := range segment.SortedKeys(v.tallies) {
		t := v.tallies[name]
		if t.broken {
			t.lose(segment.Run{First: t.next(), Next: t.appended.Events + 1})
		}
		for i := range t.places {
			p := &t.places[i]
			v.judgeCursor(t, p, t.live[i], needed[name])
		}
		if len(t.places) == 0 {
			for _, hole := range t.holes(1, t.appended.Events+1) {
				v.note("stream %q: the events %d to %d are gone; it has no destination that would miss them", name, hole.First, hole.Next-1)
			}
		}
	}
	return nil
}

// judgeLast reports damage if the newest segment is missing: the segment before it is sealed, or a begun file has a
// higher number. If an agent has begun a segment since the log was listed, the new listing has it, and there is
// nothing to judge.
func (v *verifying) judgeLast(now *logFiles) {
	last, file := uint64(0), ""
	if n := len(now.segments); n > 0 {
		last, file = now.segments[n-1].Seq, now.path(&now.segments[n-1])
	}
	if file != v.last {
		return
	}
	followed := now.ready != nil && now.ready.Seq == last+1
	if v.lastSealed && !followed || now.begun > last {
		v.damaged(&segment.CorruptError{File: cmp.Or(file, now.dir), Reason: "a later segment was made, and it is missing"})
	}
}

// needed returns the offsets of each stream that some destination needs. Other events may have been truncated while the
// log was read.
func (l *logFiles) needed(ctx context.Context) (map[string][]segment.Run, error) {
	streams, _, err := l.state(ctx)
	needed := make(map[string][]segment.Run)
	for name, s := range streams {
		needed[name] = s.needed()
	}
	return needed, err
}

// judgeCursor reports the events that the destination waits for and that the log lacks. Events that the ledger counts
// as dropped are only worth a note.
func (v *verifying) judgeCursor(t *tally, p *loggedCursor, live uint64, now []segment.Run) {
	from, next := p.at.Needed().First, min(p.at.Needed().Next, t.appended.Events+1)
	var holes []segment.Run
	all := t.holes(from, next)
	for _, hole := range all {
		holes = append(holes, within(hole, now)...)
	}
	truncated := events(holes) < events(all)
	pending := t.pending(p).Events
	switch {
	case live == pending:
		for _, hole := range holes {
			v.note("stream %q: the events %d to %d are gone; destination %q has counted its losses among them", t.name, hole.First, hole.Next-1, p.name)
		}
	case len(holes) > 0 && live < pending:
		for _, hole := range holes {
			v.damaged(&segment.CorruptError{File: v.newest, Stream: t.name, Offset: hole.First, Reason: fmt.Sprintf(
				"the events up to %d are missing; destination %q waits for %d events, the log holds %d of them",
				hole.Next-1, p.name, pending, live)})
		}
	case !truncated && !t.lostIn(from, next):
		v.damaged(&segment.CorruptError{File: v.newest, Stream: t.name, Offset: from, Reason: fmt.Sprintf(
			"destination %q waits for %d events by its ledger, the log holds %d of them", p.name, pending, live)})
	}
}
