package wal

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/cursor"
)

// Reasons why events were dropped.
const (
	DroppedFull    = bounds.DroppedFull    // the log was full under drop_oldest
	DroppedAge     = bounds.DroppedAge     // older than max_age
	DroppedCorrupt = bounds.DroppedCorrupt // their segment cannot be read
	DroppedAbsent  = bounds.DroppedAbsent  // unlinked before the destination was configured

	DroppedParked    = bounds.DroppedParked    // appended while the cursor was parked: see Cursor.Park
	DroppedForgotten = bounds.DroppedForgotten // see Cursor.Forget
)

// Settlement is a step of a destination: the new progress of the lanes that moved, and an addition to the ledger. It
// takes effect as a whole, also on disk. Settle changes its Lanes and does not keep them.
type Settlement = cursor.Settlement

// Cursor is one destination's position in one stream: the progress of each lane, and the ledger. Settle changes it in
// memory; the committer writes it within Options.CheckpointInterval.
type Cursor struct {
	log    *Log
	stream *stream
	name   string

	mu      sync.Mutex
	at      cursor.Position
	dirty   bool // it is in the state, differs from it on the disk, and is in streamTable.dirty
	keeper  func(state []byte)
	floor   Floor              // the destination must drop its events below it
	opened  bool               // a shipper owns the cursor
	rests   bool               // it is opened, and its destination has no shipper yet
	inState bool               // it is part of the log's state: see streamTable.countLocked
	pages   int64              // bytes that it takes of the state
	drops   bounds.LoggedDrops // owned by upkeep
	oldest  eventTime          // of the event at the checkpoint of the last Stat
}

// Name returns the destination's name.
func (p *Cursor) Name() string { return p.name }

// Stream returns the stream's name.
func (p *Cursor) Stream() string { return p.stream.name }

// Label returns the text that SetLabel stored, in this run or an earlier one.
func (p *Cursor) Label() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Label
}

// SetLabel stores a short text with the cursor, such as the destination's type, so that it can be shown after the
// destination has left the configuration.
func (p *Cursor) SetLabel(text string) {
	p.mu.Lock()
	changed := p.at.Label != text
	p.at.Label = text
	if changed {
		p.dirtyLocked()
	}
	p.mu.Unlock()
	if changed {
		p.log.committer.Touch(CheckpointInterval)
	}
}

// Lanes returns the progress of each lane.
func (p *Cursor) Lanes() [Lanes]Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.CloneLanes()
}

// State returns the destination's own state, as the last settlement with a State set it.
func (p *Cursor) State() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.at.State)
}

// Keep registers f. It is called with the destination's state after every commit that holds one, on the goroutine that
// commits, and must return at once.
func (p *Cursor) Keep(f func(state []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keeper = f
}

// Settle applies s, which is durable with the next checkpoint. Progress only grows: settled offsets that s leaves out
// stay settled. Errors: ErrUnsettled, ErrOvercounted.
func (p *Cursor) Settle(s Settlement) error {
	p.stream.mu.Lock()
	p.mu.Lock()
	err := p.settleLocked(&s)
	p.mu.Unlock()
	p.stream.mu.Unlock()
	within := p.log.opts.CheckpointInterval
	if s.OnlyCounts() {
		within = max(within, commit.CountsInterval)
	}
	p.log.committer.Touch(within)
	p.stream.settled.Wake()
	return err
}

// settleLocked is Settle with the stream's mu and p.mu held.
func (p *Cursor) settleLocked(s *Settlement) error {
	moved := p.at.Moved(s.Lanes)
	if c := s.Add.Settled(); c.Events > 0 && len(moved) == 0 {
		return fmt.Errorf("%w: it counts %d events of destination %q of stream %q", ErrUnsettled, c.Events, p.name, p.stream.name)
	}
	lost := s.Add.Lost().Events > 0
	if lost && p.opened {
		p.stream.noteLostLocked(p, moved)
	}
	p.at.Move(moved, lost)
	err := p.addLocked(&s.Add)
	if s.State != nil {
		p.at.State = s.State
	}
	p.keepLocked()
	return err
}

// Close ends the ownership of the cursor. Its events are kept. If the stream never had an event, the cursor is removed,
// unless it has something to keep: see streamTable.countLocked.
func (p *Cursor) Close() {
	p.mu.Lock()
	p.opened = false
	p.mu.Unlock()
	p.leaveStream()
	p.stream.settled.Wake()
}

// Rest sets whether the cursor, which is open, has no shipper yet. WaitSettled waits for its events all the same, and
// the log itself drops the events that policies drop.
func (p *Cursor) Rest(rests bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rests = rests
}

// shippedLocked reports whether a shipper drops the events below the floor.
func (p *Cursor) shippedLocked() bool { return p.opened && !p.rests }

// addLocked adds to the ledger, but never more events than are pending. It is called with the stream's mu and p.mu
// held.
func (p *Cursor) addLocked(add *Ledger) error {
	counted, pending := add.Settled(), p.pendingLocked()
	if over := p.at.Add(add, pending); over != (Count{}) {
		return fmt.Errorf("%w: %d events of %d bytes, pending are %d of %d, at destination %q of stream %q", ErrOvercounted,
			counted.Events, counted.Bytes, pending.Events, pending.Bytes, p.name, p.stream.name)
	}
	return nil
}

// Floor returns the offset below which the destination must drop its unsettled events.
func (p *Cursor) Floor() Floor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor
}

// checkpointLocked returns the first offset that is not settled. A parked cursor without pending events has settled all
// offsets.
func (p *Cursor) checkpointLocked() uint64 {
	return p.at.Needed().First
}

// CursorStat is a cursor at one instant: Appended = Delivered + Dead + Dropped + Pending.
type CursorStat = cursor.Stat

// Stat returns the present ledger and the pending events.
func (p *Cursor) Stat() CursorStat {
	p.mu.Lock()
	st, oldest := p.at.Stat(), p.oldest
	p.mu.Unlock()
	st.Grow(p.stream.appended()) // read after the ledger: settled events were appended before
	if st.Pending.Events > 0 {
		if oldest.offset != st.Checkpoint {
			oldest = p.readOldest(st.Checkpoint)
		}
		if oldest.offset > 0 {
			st.OldestPending, _ = p.log.times.Time(oldest.at)
		}
	}
	return st
}

// eventTime is the time of the block that has an event.
type eventTime struct {
	offset uint64    // of the event; 0: none
	at     time.Time // as stored: the clock may have been set since
}

// readOldest reads the time of the oldest pending event from its block, and keeps it for the next Stat: a status reads a block
// for each cursor that has moved, not for each cursor.
func (p *Cursor) readOldest(checkpoint uint64) eventTime {
	b, ok := p.log.segments.BlockAt(p.stream.name, checkpoint)
	if !ok {
		return eventTime{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest = eventTime{checkpoint, b.At()}
	return p.oldest
}
