package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Held are the events that the owner of a cursor has read from the log, and has not settled.
type Held struct {
	Next  [Lanes]uint64 // the owner holds all unsettled events of the lane below it; 0: none
	Count Count
}

// Lose gives up a part of the log that a Read at offset from has found corrupt. held are the events that the owner of
// the cursor holds at the time of the call: it will settle them itself. The owner calls the returned function, which
// reads the log and may take long, from any goroutine. Meanwhile the owner may settle events that it holds, and reads
// nothing.
//
// The function counts as dropped, with the reason corrupt, all events that are not settled, not held and not in the log.
// It notes them as settled in the same step, so that none of them counts again if it can be read later. It returns the
// offset for the next Read: the end of the part, or from if the part is to be read again. Other cursors count the
// losses that their own reads meet.
func (p *Cursor) Lose(corrupt *CorruptError, from uint64, held *Held) func() (next uint64, err error) {
	r := p.reckoning(held)
	return func() (next uint64, err error) { return p.log.damage.lose(r, corrupt, from) }
}

func (d *damage) lose(r *reckoning, corrupt *CorruptError, from uint64) (next uint64, err error) {
	run := Run{First: from, Next: d.giveUp(corrupt, r.cursor.stream.name, from)}
	if run.Next == from || settles(&r.lanes, run) {
		return run.Next, nil
	}
	if err := d.reconcile(r); err == errOwned { //nolint:errorlint // reconcile returns it as it is
		return from, nil
	} else if err != nil {
		return from, err
	}
	if lanes := r.owned.settled(r.cursor.Lanes()); settles(&lanes, run) {
		return run.Next, nil
	}
	return from, nil // by now it can be read
}

// settled returns the progress of the lanes once the held events are settled. A nil Held holds nothing.
func (h *Held) settled(lanes [Lanes]Progress) [Lanes]Progress {
	for i := range lanes {
		if h != nil {
			lanes[i] = Progress{Checkpoint: h.Next[i]}.With(lanes[i])
		}
	}
	return lanes
}

// reckoning is the input for finding the lost events of a cursor: those that are not settled, not held by the cursor's
// owner, and not in the log.
type reckoning struct {
	cursor  *Cursor
	owned   *Held // nil: the cursor has no owner, or the owner reads none of the runs that are lost
	lanes   [Lanes]Progress
	low     uint64 // all events below are settled
	settled Count
	corrupt Count // of settled: dropped as corrupt
	before  [Lanes]Progress

	// Set by examine, and valid as long as no segment is unlinked or compacted.
	appended Count
	parts    []heldPart

	// Set by lost.
	gaps   []Run // without a segment
	gaveUp []Run // unreadable
}

// heldPart is the part of a stream in one segment.
type heldPart struct {
	segment.Span
	plain bool // all events of it can be read, as far as is known
}

// reckoning notes the progress of the cursor. Events in owned count as settled.
func (p *Cursor) reckoning(owned *Held) *reckoning {
	r := &reckoning{cursor: p, owned: owned}
	p.mu.Lock()
	r.before, r.settled, r.corrupt = p.at.CloneLanes(), p.at.Ledger.Settled(), p.at.Ledger.Dropped[DroppedCorrupt]
	p.mu.Unlock()
	r.lanes = owned.settled(r.before)
	if owned != nil {
		r.settled.Add(owned.Count)
	}
	r.low = r.lanes[0].Checkpoint
	for i := range r.lanes {
		r.low = min(r.low, r.lanes[i].Checkpoint)
	}
	return r
}

// examine finds the segments that hold events of the stream.
func (d *damage) examine(r *reckoning) {
	d.log.segments.WithParts(r.cursor.stream.name, func(parts []liveset.Part) {
		r.appended, r.parts = r.cursor.stream.appended(), nil
		for _, part := range parts {
			if part.Next > r.low {
				r.parts = append(r.parts, heldPart{part.Span, !part.Gapped && len(part.Bad) == 0})
			}
		}
	})
}

// between reports whether some events of the part are settled, so that each event must be read.
func (r *reckoning) between(p *heldPart) bool {
	for i := range r.lanes {
		m := &r.lanes[i]
		if m.Checkpoint > p.First || slices.ContainsFunc(m.Settled, func(s Run) bool { return s.First < p.Next && p.First < s.Next }) {
			return true
		}
	}
	return false
}

// bytes estimates the bytes that lost will read.
func (r *reckoning) bytes() (n uint64) {
	for i := range r.parts {
		if p := &r.parts[i]; r.between(p) {
			n += compact.Weight(p.Count())
		}
	}
	return n
}

// lost counts the lost events, and finds the runs that have them. It reads only segments of which some events are
// settled, and segments that are known to be damaged or compacted. The index has the counts of the others.
func (d *damage) lost(r *reckoning) (lost Count, err error) {
	held, next := Count{}, r.low
	r.gaps, r.gaveUp = nil, nil
	for i := range r.parts {
		p := &r.parts[i]
		if p.First > next {
			r.gaps = append(r.gaps, Run{First: next, Next: p.First})
		}
		there := p.Count()
		if r.between(p) || !p.plain {
			var bad []Run
			if there, bad, err = d.unsettled(r.cursor.stream.name, &r.lanes, max(r.low, p.First), p.Next); err != nil {
				return lost, err
			}
			r.gaveUp = append(r.gaveUp, bad...)
		}
		held.Add(there)
		next = p.Next
	}
	if end := r.appended.Events + 1; next < end {
		r.gaps = append(r.gaps, Run{First: next, Next: end})
	}
	return r.appended.Beyond(r.settled.Plus(held)), nil
}

// errOwned is returned by reconcile if the reckoning is out of date: other losses were counted since, or the cursor has
// got an owner.
var errOwned = errors.New("the cursor is in use")

// reconcile counts the lost events of a cursor as dropped, with the reason corrupt.
func (d *damage) reconcile(r *reckoning) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reconcileLocked(r)
}

// reconcileLocked is reconcile with d.mu held, since two concurrent calls would count the same loss twice. It holds the
// segments, since events that are unlinked meanwhile would seem lost.
func (d *damage) reconcileLocked(r *reckoning) error {
	defer d.log.segments.Hold()()
	d.examine(r)
	lost, err := d.lost(r)
	if err != nil {
		return err
	}
	if err := r.cursor.settleLost(r, lost); err != nil {
		return err
	}
	if lost.Events > 0 {
		d.log.opts.Logger.Error("events are lost with a damaged part of the log", "stream", r.cursor.stream.name,
			"destination", r.cursor.name, "offsets", runsText(r.runs()), "events", lost.Events, "bytes", lost.Bytes)
	}
	return nil
}

// runs returns the runs with lost events, ascending.
func (r *reckoning) runs() []Run {
	return Progress{Settled: slices.Concat(r.gaps, r.gaveUp)}.With(Progress{}).Settled
}

// settleLost counts the lost events as dropped, and notes the runs that had them as settled, except for held events.
func (p *Cursor) settleLost(r *reckoning, lost Count) error {
	runs, notes := r.runs(), make(map[uint8]Progress, Lanes)
	for lane := range uint8(Lanes) {
		from := uint64(0)
		if r.owned != nil {
			from = r.owned.Next[lane]
		}
		notes[lane] = Progress{Settled: runsFrom(runs, from)}
	}
	p.stream.mu.Lock()
	p.mu.Lock()
	err := p.settleLostLocked(r, lost, runs, notes)
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.log.committer.Touch()
	p.stream.settled.Wake()
	return err
}

// settleLostLocked is the part of settleLost with the stream's mu and p.mu held.
func (p *Cursor) settleLostLocked(r *reckoning, lost Count, runs []Run, notes map[uint8]Progress) error {
	since := p.at.Ledger.Dropped[DroppedCorrupt] == r.corrupt
	if r.owned == nil && len(r.gaveUp) > 0 { // an owner may hold events of these runs
		since = since && !p.shippedLocked() && slices.EqualFunc(p.at.Lanes[:], r.before[:], Progress.Equal)
	}
	if !since {
		return errOwned
	}
	moved := p.at.Moved(notes)
	if lost.Events > 0 && p.opened {
		p.stream.noteLostLocked(p, moved)
	}
	p.at.Move(moved, false)
	if lost.Events > 0 {
		p.at.Lose(runs)
		if err := p.addLocked(&Ledger{Dropped: map[string]Count{DroppedCorrupt: lost}}); err != nil {
			p.log.opts.Logger.Error("internal fault: more events were lost than were pending", "error", err)
		}
	}
	if lost.Events > 0 || len(moved) > 0 {
		p.dirtyLocked()
	}
	return nil
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

// covered reports whether the log holds all events of a stream that progress does not settle.
func (d *damage) covered(s *stream, progress *[Lanes]Progress, from uint64) bool {
	next := s.appended().Events + 1
	for _, sp := range d.log.segments.Parts(s.name) {
		if from < sp.First && !settles(progress, Run{First: from, Next: sp.First}) {
			return false
		}
		from = max(from, sp.Next)
	}
	return from >= next || settles(progress, Run{First: from, Next: next})
}

// reckonAtOpen is about the most bytes that Open reads to find losses. Other losses are found in the background, and
// count as pending until then.
const reckonAtOpen = 16 << 20

// reconcileAll reconciles every cursor that may have lost events. It returns the cursors that are left for later.
func (d *damage) reconcileAll() (later []*Cursor, err error) {
	left := d.log.opts.reckonAtOpen
	for _, p := range d.log.streams.cursors() {
		r := p.reckoning(nil)
		if d.covered(p.stream, &r.lanes, r.low) {
			continue
		}
		d.examine(r)
		if left -= int64(r.bytes()); left < 0 {
			later = append(later, p)
			continue
		}
		if err := d.reconcile(r); err != nil {
			return nil, err
		}
	}
	return later, nil
}

// reconcileLater reconciles the cursors that reconcileAll left. They may have owners meanwhile, which do not hold events
// that were lost before Open.
func (d *damage) reconcileLater(cursors []*Cursor) {
	for _, p := range cursors {
		d.mu.Lock()
		err := d.reconcileLocked(p.reckoning(nil))
		d.mu.Unlock()
		if err != nil && err != ErrClosed { //nolint:errorlint // unsettled returns it as it is
			d.log.opts.Logger.Error("losses of a destination in a damaged log are unknown; the events count as pending",
				"stream", p.stream.name, "destination", p.name, "error", err)
		}
	}
}
