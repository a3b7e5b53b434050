package wal

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Reasons why events were dropped.
const (
	DroppedFull    = "full"    // the log was full under drop_oldest
	DroppedAge     = "age"     // older than max_age
	DroppedCorrupt = "corrupt" // the segment that held them can't be read
	DroppedAbsent  = "absent"  // appended and truncated before the destination was configured
)

// leaveOut subtracts over from the settled counts.
func leaveOut(l *Ledger, over Count) {
	take := func(c Count) Count {
		left := c.Beyond(over)
		over = over.Beyond(c)
		return left
	}
	l.Delivered, l.Dead = take(l.Delivered), take(l.Dead)
	for reason, c := range l.Dropped {
		l.Dropped[reason] = take(c)
	}
}

func cloneLedger(l *Ledger) Ledger {
	c := *l
	c.Dropped = maps.Clone(l.Dropped)
	return c
}

// Settlement is a step of a destination: the new marks of the lanes that moved, and what to add
// to the ledger. It takes effect as a whole, also on disk.
type Settlement struct {
	Lanes map[uint8]Progress
	Add   Ledger // added to the ledger; LastDelivery replaces it unless zero
	State []byte // the destination's own state; nil: unchanged
}

// Cursor is one destination's place in one stream: a mark for each lane and the ledger. Settle
// changes it in memory; the committer writes it within CheckpointInterval.
type Cursor struct {
	log    *Log
	stream *stream
	name   string

	mu     sync.Mutex
	at     segment.CursorState
	dirty  bool // differs from its state on the disk, and is in committer.dirty
	keeper func(state []byte)
	floor  Floor // events below it are to be dropped
	opened bool  // somebody ships from here; otherwise the place is parked
	rests  bool  // it is opened and its destination can't be shipped to yet
	kept   bool  // it is part of the log's state: see countStreamLocked
	pages  int64 // bytes that it takes of the state

	// lost: of each lane, where the last event that was not delivered ends, as far as is known; an event that is settled and
	// lies beyond it was delivered.
	lost [Lanes]uint64

	// What is on disk, by which events go: the marks, and the smallest checkpoint. Guarded by mu.
	synced [Lanes]Progress
	low    uint64
}

// Name returns the destination's name.
func (p *Cursor) Name() string { return p.name }

// Stream returns the stream's name.
func (p *Cursor) Stream() string { return p.stream.name }

// Label returns what SetLabel has set, also in an earlier life of the log.
func (p *Cursor) Label() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Label
}

// SetLabel keeps a short text with the place, such as the destination's type, so that it can be told
// when the destination is configured no longer.
func (p *Cursor) SetLabel(text string) {
	p.mu.Lock()
	changed := p.at.Label != text
	p.at.Label = text
	if changed {
		p.dirtyLocked()
	}
	p.mu.Unlock()
	if changed {
		p.log.committer.touch()
	}
}

// Lanes returns where each lane stands.
func (p *Cursor) Lanes() [Lanes]Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cloneMarksLocked()
}

func (p *Cursor) cloneMarksLocked() [Lanes]Progress {
	marks := p.at.Lanes
	for i := range marks {
		marks[i].Settled = slices.Clone(marks[i].Settled)
	}
	return marks
}

// State returns the destination's own state as it was last settled.
func (p *Cursor) State() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.at.State)
}

// Keep makes f be called with the destination's state after every commit that holds it, by
// whoever commits: f returns at once.
func (p *Cursor) Keep(f func(state []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keeper = f
}

// Settle records s. It is durable with the next checkpoint. A mark only grows: offsets that the place has settled and s
// leaves out stay settled. Errors: ErrUnsettled, ErrOvercounted.
func (p *Cursor) Settle(s Settlement) error {
	p.stream.mu.Lock()
	p.mu.Lock()
	err := p.settleLocked(&s)
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.log.committer.touch()
	p.stream.settled.wake()
	return err
}

// settleLocked is called with the stream's mu and p.mu held.
func (p *Cursor) settleLocked(s *Settlement) error {
	moved := make(map[uint8]Progress, len(s.Lanes))
	for lane, m := range s.Lanes {
		if m = m.With(p.at.Lanes[lane]); !m.Equal(p.at.Lanes[lane]) {
			moved[lane] = m
		}
	}
	if c := s.Add.Settled(); c.Events > 0 && len(moved) == 0 {
		return fmt.Errorf("%w: it counts %d events of destination %q of stream %q", ErrUnsettled, c.Events, p.name, p.stream.name)
	}
	lost := s.Add.Lost().Events > 0
	if lost && p.opened {
		p.stream.noteLostLocked(p, moved)
	}
	for lane, m := range moved {
		p.at.Lanes[lane] = m
		if lost {
			p.lost[lane] = max(p.lost[lane], m.End())
		}
	}
	err := p.addLocked(&s.Add)
	if s.State != nil {
		p.at.State = s.State
	}
	p.dirtyLocked()
	return err
}

// Park notes that no shipper ships from the place any more. Its events are kept. While the stream has no events, nothing
// of the place stays on the disk.
func (p *Cursor) Park() {
	p.mu.Lock()
	p.opened = false
	p.mu.Unlock()
	p.log.deletions.park(p)
	p.stream.settled.wake()
}

// Rest notes whether the place, which is open, has no shipper yet. Its events are awaited all the same, and the log itself
// drops the events that policies drop of it.
func (p *Cursor) Rest(rests bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rests = rests
}

// shippedLocked reports whether a shipper settles the events that are to be dropped.
func (p *Cursor) shippedLocked() bool { return p.opened && !p.rests }

// addLocked adds to the ledger. It never has more settled than the stream has: Pending would be less than nothing. It is
// called with the stream's mu and p.mu held.
func (p *Cursor) addLocked(add *Ledger) (err error) {
	counted, pending := add.Settled(), p.pendingLocked()
	if over := counted.Beyond(pending); over != (Count{}) {
		fits := cloneLedger(add)
		leaveOut(&fits, over)
		add = &fits
		err = fmt.Errorf("%w: %d events of %d bytes, pending are %d of %d, at destination %q of stream %q", ErrOvercounted,
			counted.Events, counted.Bytes, pending.Events, pending.Bytes, p.name, p.stream.name)
	}
	l := &p.at.Ledger
	l.Delivered.Add(add.Delivered)
	l.Dead.Add(add.Dead)
	for reason, c := range add.Dropped {
		l.Drop(reason, c)
	}
	l.Requests += add.Requests
	l.Records += add.Records
	l.BilledBytes += add.BilledBytes
	l.PutUnits += add.PutUnits
	if !add.LastDelivery.IsZero() {
		l.LastDelivery = add.LastDelivery
	}
	return err
}

// Floor returns below where the destination is to drop what it has not settled.
func (p *Cursor) Floor() Floor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor
}

// checkpointLocked returns the first offset that is not settled.
func (p *Cursor) checkpointLocked() uint64 { return p.at.Checkpoint() }

// restore sets a cursor that the log has read to what its entry of the state says.
func (p *Cursor) restore(entry []byte) error {
	err := p.at.Decode(entry)
	p.synced, p.low = p.at.Lanes, p.at.Checkpoint()
	if p.at.Ledger.Lost().Events > 0 { // which events those were was forgotten
		for i := range p.at.Lanes {
			p.lost[i] = p.at.Lanes[i].End()
		}
	}
	return err
}

// CursorStat is a Place at one instant: Appended = Delivered + Dead + Dropped + Pending.
type CursorStat struct {
	Ledger
	Checkpoint    uint64 // the first offset that is not settled
	Appended      Count
	Pending       Count
	OldestPending time.Time // when it was appended; zero when nothing is pending
}

// Stat returns what the ledger says now.
func (p *Cursor) Stat() CursorStat {
	p.mu.Lock()
	st := CursorStat{Ledger: cloneLedger(&p.at.Ledger), Checkpoint: p.checkpointLocked()}
	p.mu.Unlock()
	st.Appended = p.stream.appended() // after the ledger: what is settled was appended before
	st.Pending = st.Appended.Beyond(st.Settled())
	if st.Pending.Events > 0 {
		if b, ok := p.log.segments.blockAt(p.stream.name, st.Checkpoint); ok {
			st.OldestPending = b.At()
		}
	}
	return st
}
