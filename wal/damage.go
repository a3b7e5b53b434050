package wal

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// damage finds unreadable parts of the log, gives them up, and counts their events as dropped.
type damage struct {
	log *Log

	mu     sync.Mutex     // held while losses are counted, or events are dropped for a parked cursor; the first in the lock order
	later  []*Cursor      // the cursors that reconcileAll left in Open
	worker sync.WaitGroup // the goroutine that reconciles them; Close waits for it
}

// unsettled counts the events in [from, to) that are in the log and that progress does not settle. It gives up unreadable
// parts.
func (d *damage) unsettled(streamName string, progress *[Lanes]Progress, from, to uint64) (c Count, err error) {
	open := openLanes(progress, to)
	for from < to {
		select {
		case <-d.log.closing:
			return c, ErrClosed
		default:
		}
		chunk, err := d.log.Read(streamName, from, open, 4<<20)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			d.giveUp(corrupt, streamName, chunk.Next)
			err = nil
		}
		if err != nil {
			return c, err
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			if e.Offset < to && !progress[e.Lane].Done(e.Offset) {
				c.Add(Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
		}
		if from = chunk.Next; chunk.End {
			return c, nil
		}
	}
	return c, nil
}

// openLanes returns the lanes that may have unsettled events below to.
func openLanes(progress *[Lanes]Progress, to uint64) (lanes LaneSet) {
	for lane := range uint8(Lanes) {
		if progress[lane].Checkpoint < to {
			lanes = lanes.With(lane)
		}
	}
	return lanes
}

// reckoning is the input for finding the lost events of a cursor: those that are neither settled nor in the log. No
// segment may be unlinked or compacted while the reckoning is in use.
type reckoning struct {
	cursor    *Cursor
	lanes     [Lanes]Progress
	low, high uint64 // all events below low are settled, and none from high on
	settled   Count
	appended  Count
	parts     []heldPart
}

// heldPart is the part of a stream in one segment.
type heldPart struct {
	segment.Span
	segment *liveset.Segment
	plain   bool // no event of it is missing
}

func (d *damage) reckoning(p *Cursor) *reckoning {
	r := &reckoning{cursor: p}
	p.mu.Lock()
	r.lanes, r.settled, r.low = p.at.CloneLanes(), p.at.Ledger.Settled(), p.checkpointLocked()
	p.mu.Unlock()
	for i := range r.lanes {
		r.high = max(r.high, r.lanes[i].End())
	}
	d.log.segments.WithParts(p.stream.name, func(parts []liveset.Part) {
		r.appended = p.stream.appended()
		for _, part := range parts {
			if part.Next > r.low {
				r.parts = append(r.parts, heldPart{part.Span, part.Segment, !part.Gapped && len(part.Bad) == 0})
			}
		}
	})
	return r
}

// between reports whether the part is settled for some lanes only, so that each of its events must be read.
func (r *reckoning) between(p *heldPart) bool { return p.First < r.high }

// bytes estimates the bytes that lost will read.
func (r *reckoning) bytes() (n uint64) {
	for i := range r.parts {
		if p := &r.parts[i]; r.between(p) {
			n += compact.Weight(p.Count())
		}
	}
	return n
}

// lost counts the events that the cursor has not settled and the log no longer holds. It reads only segments with
// events between the cursor's checkpoints, and segments that are known to be damaged. The index has the counts of the
// others.
func (d *damage) lost(r *reckoning) (lost Count, err error) {
	held := Count{}
	for i := range r.parts {
		p := &r.parts[i]
		there := p.Count()
		if r.between(p) || !p.plain {
			if there, err = d.unsettled(r.cursor.stream.name, &r.lanes, max(r.low, p.First), p.Next); err != nil {
				return lost, err
			}
		}
		held.Add(there)
	}
	return r.appended.Beyond(r.settled.Plus(held)), nil
}

// reconcile counts the lost events of a cursor as dropped, with the reason corrupt. It holds d.mu, since two concurrent
// calls would count the same loss twice. It holds the segments, since events that are unlinked meanwhile would seem
// lost.
func (d *damage) reconcile(p *Cursor) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.log.segments.Hold()()
	r := d.reckoning(p)
	lost, err := d.lost(r)
	if err != nil || lost.Events == 0 {
		return err
	}
	missing := d.missing(p.stream, r.low, r.appended.Events+1)
	d.log.opts.Logger.Error("events are lost with a damaged part of the log", "stream", p.stream.name,
		"destination", p.name, "offsets", runsText(missing), "events", lost.Events, "bytes", lost.Bytes)
	p.settleLost(lost, missing)
	return nil
}

// settleLost counts the lost events as dropped. It moves no checkpoint: checkpoints move past these events when the
// others are settled.
func (p *Cursor) settleLost(lost Count, missing []Run) {
	p.stream.mu.Lock()
	p.mu.Lock()
	p.at.Lose(missing)
	err := p.addLocked(&Ledger{Dropped: map[string]Count{DroppedCorrupt: lost}})
	p.dirtyLocked()
	p.mu.Unlock()
	p.stream.mu.Unlock()
	if err != nil {
		p.log.opts.Logger.Error("internal fault: more events were lost than were pending", "error", err)
	}
	p.log.committer.Touch()
	p.stream.settled.Wake()
}

// missing returns the runs of a stream's offsets in [from, next) that the log does not hold or has given up.
func (d *damage) missing(s *stream, from, next uint64) (runs []Run) {
	for _, part := range d.log.segments.Parts(s.name) {
		if part.Next <= from {
			continue
		}
		if part.First > from {
			runs = append(runs, Run{First: from, Next: min(part.First, next)})
		}
		for _, bad := range part.Bad {
			if bad.Next > from {
				runs = append(runs, Run{First: max(bad.First, from), Next: bad.Next})
			}
		}
		from = part.Next
	}
	if from < next {
		runs = append(runs, Run{First: from, Next: next})
	}
	return runs
}

// runsText formats runs of offsets, such as "11-20, 35".
func runsText(runs []Run) string {
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

// covered reports whether the log holds all events of a stream from offset from on.
func (d *damage) covered(s *stream, from uint64) bool {
	next := s.appended().Events + 1
	for _, sp := range d.log.segments.Parts(s.name) {
		if from < sp.First {
			return false
		}
		from = max(from, sp.Next)
	}
	return from >= next
}

// reckonAtOpen is about the most bytes that Open reads to find losses. Other losses are found in the background, and
// count as pending until then.
const reckonAtOpen = 16 << 20

// reconcileAll reconciles every cursor that may have lost events. It returns the cursors that are left for later.
func (d *damage) reconcileAll() (later []*Cursor, err error) {
	left := d.log.opts.reckonAtOpen
	for _, p := range d.log.streams.cursors() {
		p.mu.Lock()
		from := p.checkpointLocked()
		p.mu.Unlock()
		if d.covered(p.stream, from) {
			continue
		}
		if left -= int64(d.reckoning(p).bytes()); left < 0 {
			later = append(later, p)
			continue
		}
		if err := d.reconcile(p); err != nil {
			return nil, err
		}
	}
	return later, nil
}

// reconcileLater reconciles the cursors that reconcileAll left.
func (d *damage) reconcileLater(cursors []*Cursor) {
	for _, p := range cursors {
		if err := d.reconcile(p); err != nil && err != ErrClosed { //nolint:errorlint // unsettled returns it as it is
			d.log.opts.Logger.Error("losses of a destination in a damaged log are unknown; the events count as pending",
				"stream", p.stream.name, "destination", p.name, "error", err)
		}
	}
}

// Lose gives up a corrupt part of the log, which a Read at offset from has found. The events in it count as dropped for
// each of the stream's destinations that has not settled them. Later Reads skip the part.
func (l *Log) Lose(corrupt *CorruptError, streamName string, from uint64) error {
	undo := l.damage.giveUp(corrupt, streamName, from)
	for _, p := range l.Cursors(streamName) {
		if err := l.damage.reconcile(p); err != nil {
			undo() // its loss is not counted yet: the next Read finds the damage again
			return err
		}
	}
	return nil
}

// giveUp gives up the offsets from the corrupt block to the next good block. The returned function undoes that.
func (d *damage) giveUp(corrupt *CorruptError, streamName string, from uint64) (undo func()) {
	seg, sp := d.log.segments.Find(streamName, from)
	if seg == nil {
		return func() {}
	}
	bad, known := d.log.segments.GiveUp(seg, streamName, from, sp)
	if !known {
		d.log.opts.Logger.Error("a part of the log can't be read and is given up", "segment", seg.Path,
			"stream", streamName, "first", bad.First, "next", bad.Next, "error", corrupt)
	}
	return func() { d.log.segments.UndoGiveUp(seg, streamName, bad) }
}

// gapsFor counts the stream's events that compacted segments lack, if the destination has no cursor yet. No segment may
// be unlinked or compacted meanwhile.
func (d *damage) gapsFor(s *stream, destination string) (gaps Count, err error) {
	s.mu.Lock()
	known := s.cursors[destination] != nil
	s.mu.Unlock()
	if known {
		return Count{}, nil
	}
	for _, part := range d.log.segments.Parts(s.name) {
		if !part.Gapped {
			continue
		}
		there, err := d.heldOf(part.Segment, s.name, part.Span)
		if err != nil {
			return Count{}, err
		}
		gaps.Add(part.Count().Sub(there))
	}
	return gaps, nil
}

// heldOf counts the stream's events in a compacted segment. It reads a segment of an older release, which has no
// counts.
func (d *damage) heldOf(seg *liveset.Segment, name string, sp segment.Span) (there Count, err error) {
	var counts map[string]Count
	err = seg.View(func(r segment.Reader) (err error) {
		if meta := r.Bucket(segment.BucketMeta); meta != nil {
			counts, err = segment.DecodeHeld(segment.ValueOf(meta, segment.KeyGapped))
		}
		return err
	})
	if err == nil && counts != nil {
		return counts[name], nil
	}
	return d.unsettled(name, new([Lanes]Progress), sp.First, sp.Next)
}
