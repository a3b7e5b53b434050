package wal

import (
	"errors"
	"sync"

	"github.com/standpipe/standpipe/wal/internal/loss"
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
type Held = loss.Held

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
	if lanes := r.Owned.Settles(r.cursor.Lanes()); loss.Settles(&lanes, run) {
		return run.Next, nil
	}
	return from, nil // by now it can be read
}

// lossCheck is the search for the lost events of a cursor.
type lossCheck struct {
	loss.Check
	cursor *Cursor
}

// checkLoss notes the progress of the cursor. Events in owned count as settled.
func (p *Cursor) checkLoss(owned *Held) *lossCheck {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &lossCheck{loss.NewCheck(p.stream.name, &p.at, owned), p}
}

// examine finds the segments that hold events of the stream.
func (d *damage) examine(r *lossCheck) {
	d.counter.Examine(&r.Search, func() Count { return r.Parking.Kept(r.cursor.stream.appended()) })
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
	if r.Owned != nil && r.Owned.Delivered > 0 && lost.Events > 0 {
		delivered = r.Before(lost, r.Owned.Delivered)
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
	settling := r.Settling()
	p.stream.mu.Lock()
	p.mu.Lock()
	err := p.settleLostLocked(r, lost, delivered, settling)
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.log.committer.Touch(CheckpointInterval)
	p.stream.settled.Wake()
	return err
}

// settleLostLocked is the part of settleLost with the stream's mu and p.mu held.
func (p *Cursor) settleLostLocked(r *lossCheck, lost, delivered Count, settling map[uint8]Progress) error {
	if !r.Holds(&p.at, p.shippedLocked()) {
		return errOwned
	}
	moved := p.at.Moved(settling)
	if lost.Events > 0 && p.opened {
		p.stream.noteLostLocked(p, moved)
	}
	p.at.Move(moved, false)
	add := Ledger{Delivered: delivered}
	if lost.Events > 0 {
		p.at.Lose(r.Runs())
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
