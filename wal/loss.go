package wal

import (
	"errors"
	"slices"
	"sync"

	"github.com/standpipe/standpipe/wal/internal/loss"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// damage counts, for each cursor, the events that are lost with unreadable parts of the log.
type damage struct {
	log     *Log
	counter loss.Counter

	mu     sync.Mutex     // held while losses are counted, or events are dropped for a parked cursor; the first in the lock order
	later  []*Cursor      // the cursors that reconcileAll left in Open
	worker sync.WaitGroup // the goroutine that reconciles them; Close waits for it
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
	return d.counter.Gaps(s.name)
}

// Held are the events that the owner of a cursor has read from the log, and has not settled.
type Held struct {
	Next  [Lanes]uint64 // the owner holds all unsettled events of the lane below it; 0: none
	Count Count
	// Delivered: the destination has all events before this offset, so unreadable ones among them count as delivered.
	Delivered uint64
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
	r := p.checkLoss(held)
	return func() (next uint64, err error) { return p.log.damage.lose(r, corrupt, from) }
}

func (d *damage) lose(r *lossCheck, corrupt *CorruptError, from uint64) (next uint64, err error) {
	run := Run{First: from, Next: d.counter.GiveUp(corrupt, r.cursor.stream.name, from)}
	if run.Next == from || loss.Settles(&r.Lanes, run) {
		return run.Next, nil
	}
	if err := d.reconcile(r); err == errOwned { //nolint:errorlint // reconcile returns it as it is
		return from, nil
	} else if err != nil {
		return from, err
	}
	if lanes := r.owned.settled(r.cursor.Lanes()); loss.Settles(&lanes, run) {
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

// lossCheck is the search for the lost events of a cursor: those that are not settled, not held by the cursor's owner, and
// not in the log.
type lossCheck struct {
	loss.Search
	cursor  *Cursor
	owned   *Held           // nil: the cursor has no owner, or the owner reads none of the runs that are lost
	before  [Lanes]Progress // of the cursor, without the held events
	corrupt Count           // of the settled events: dropped as corrupt
	parking Parking         // of a parked cursor
}

// checkLoss notes the progress of the cursor. Events in owned count as settled.
func (p *Cursor) checkLoss(owned *Held) *lossCheck {
	r := &lossCheck{cursor: p, owned: owned, Search: loss.Search{Stream: p.stream.name}}
	p.mu.Lock()
	r.before, r.Settled, r.corrupt = p.at.CloneLanes(), p.at.Ledger.Settled(), p.at.Ledger.Dropped[DroppedCorrupt]
	r.parking = p.at.Parking
	p.mu.Unlock()
	r.Lanes = owned.settled(r.before)
	if owned != nil {
		r.Settled.Add(owned.Count)
	}
	r.Needed = Run{First: r.Lanes[0].Checkpoint, Next: segment.NoEnd}
	for i := range r.Lanes {
		r.Needed.First = min(r.Needed.First, r.Lanes[i].Checkpoint)
	}
	if r.parking.Next > 0 {
		r.Needed.Next = r.parking.Next
	}
	return r
}

// examine finds the segments that hold events of the stream.
func (d *damage) examine(r *lossCheck) {
	d.counter.Examine(&r.Search, func() Count { return r.parking.Kept(r.cursor.stream.appended()) })
}

// errOwned is returned by reconcile if the check is out of date: other losses were counted since, or the cursor has
// got an owner.
var errOwned = errors.New("the cursor is in use")

// reconcile counts the lost events of a cursor as dropped, with the reason corrupt.
func (d *damage) reconcile(r *lossCheck) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reconcileLocked(r)
}

// reconcileLocked is reconcile with d.mu held, since two concurrent calls would count the same loss twice. It holds the
// segments, since events that are unlinked meanwhile would seem lost.
func (d *damage) reconcileLocked(r *lossCheck) error {
	defer d.log.segments.Hold()()
	d.examine(r)
	lost, err := d.counter.Find(&r.Search)
	if err != nil {
		return err
	}
	var delivered Count
	if r.owned != nil && r.owned.Delivered > 0 && lost.Events > 0 {
		delivered = r.Before(lost, r.owned.Delivered)
	}
	if lost = lost.Sub(delivered); delivered.Events > 0 {
		d.log.opts.Logger.Warn("events in a damaged part of the log were delivered before", "stream", r.cursor.stream.name,
			"destination", r.cursor.name, "events", delivered.Events, "bytes", delivered.Bytes)
	}
	if err := r.cursor.settleLost(r, lost, delivered); err != nil {
		return err
	}
	if lost.Events > 0 {
		d.log.opts.Logger.Error("events are lost with a damaged part of the log", "stream", r.cursor.stream.name,
			"destination", r.cursor.name, "offsets", loss.Text(r.Runs()), "events", lost.Events, "bytes", lost.Bytes)
	}
	return nil
}

// settleLost counts the lost events as dropped, and those that were delivered before as delivered. It notes the runs that
// had them as settled, except for held events.
func (p *Cursor) settleLost(r *lossCheck, lost, delivered Count) error {
	runs, notes := r.Runs(), make(map[uint8]Progress, Lanes)
	for lane := range uint8(Lanes) {
		from := uint64(0)
		if r.owned != nil {
			from = r.owned.Next[lane]
		}
		notes[lane] = Progress{Settled: runsFrom(runs, from)}
	}
	p.stream.mu.Lock()
	p.mu.Lock()
	err := p.settleLostLocked(r, lost, delivered, runs, notes)
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.log.committer.Touch(CheckpointInterval)
	p.stream.settled.Wake()
	return err
}

// settleLostLocked is the part of settleLost with the stream's mu and p.mu held.
func (p *Cursor) settleLostLocked(r *lossCheck, lost, delivered Count, runs []Run, notes map[uint8]Progress) error {
	since := p.at.Ledger.Dropped[DroppedCorrupt] == r.corrupt
	if r.owned == nil && len(r.Unreadable) > 0 { // an owner may hold events of these runs
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
	add := Ledger{Delivered: delivered}
	if lost.Events > 0 {
		p.at.Lose(runs)
		add.Drop(DroppedCorrupt, lost)
	}
	if err := p.addLocked(&add); err != nil {
		p.log.opts.Logger.Error("internal fault: more events were lost than were pending", "error", err)
	}
	if lost.Events > 0 || len(moved) > 0 {
		p.dirtyLocked()
	}
	return nil
}

// checkAtOpen is about the most bytes that Open reads to find losses. Other losses are found in the background, and
// count as pending until then.
const checkAtOpen = 16 << 20

// reconcileAll reconciles every cursor that may have lost events. It returns the cursors that are left for later.
func (d *damage) reconcileAll() (later []*Cursor, err error) {
	left := d.log.opts.checkAtOpen
	for _, p := range d.log.streams.cursors() {
		r := p.checkLoss(nil)
		if d.counter.Covered(&r.Search, p.stream.appended().Events+1) {
			continue
		}
		d.examine(r)
		if left -= int64(r.Bytes()); left < 0 {
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
		err := d.reconcileLocked(p.checkLoss(nil))
		d.mu.Unlock()
		if err != nil && err != ErrClosed { //nolint:errorlint // unsettled returns it as it is
			d.log.opts.Logger.Error("losses of a destination in a damaged log are unknown; the events count as pending",
				"stream", p.stream.name, "destination", p.name, "error", err)
		}
	}
}
