package wal

import (
	"context"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Parking is the end of a parked cursor in its stream.
type Parking = segment.Parking

// Park ends the ownership of the cursor, for a destination that has left the configuration. The cursor keeps its pending
// events. Later events of the stream count as dropped, with the reason DroppedParked: they hold no segment. Until the
// next checkpoint a crash undoes that. OpenCursor ends the parking. Park has no effect on a cursor that is parked.
func (p *Cursor) Park() {
	p.stream.mu.Lock()
	p.mu.Lock()
	if p.at.Parking.Next == 0 {
		p.at.Park(p.stream.appendedLocked(), time.Now())
		p.keepLocked()
	}
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.Close()
	p.log.committer.Touch(commit.AtOnce)
}

// Forget drops the pending events of a parked cursor, with the reason DroppedForgotten, and returns their count. It
// returns once that is on the disk. A pause is over. The cursor stays, with its ledger; if OpenCursor opens it again, it continues with
// the events that are appended after that. Another Forget drops nothing. The error is ErrNotParked for a cursor that is
// not parked, or that of Sync: then Forget may be called again.
func (p *Cursor) Forget(ctx context.Context) (dropped Count, err error) {
	if dropped, err = p.dropKept(); err != nil {
		return Count{}, err
	}
	p.log.committer.Touch(commit.AtOnce)
	p.stream.settled.Wake()
	return dropped, p.log.Sync(ctx)
}

func (p *Cursor) parking() Parking {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Parking
}

// dropKept settles all events of a parked cursor as dropped.
func (p *Cursor) dropKept() (dropped Count, err error) {
	p.log.damage.mu.Lock() // no loss is counted meanwhile
	defer p.log.damage.mu.Unlock()
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened || p.at.Parking.Next == 0 {
		return Count{}, fmt.Errorf("%w: destination %q of stream %q", ErrNotParked, p.name, p.stream.name)
	}
	dropped = p.pendingLocked()
	s := Settlement{Lanes: make(map[uint8]Progress, Lanes)}
	for lane := range uint8(Lanes) {
		s.Lanes[lane] = Progress{Checkpoint: p.at.Parking.Next}
	}
	if dropped.Events > 0 {
		s.Add.Drop(DroppedForgotten, dropped)
	}
	err = p.settleLocked(&s)
	p.at.Parking.Forgotten, p.at.Paused = true, time.Time{}
	return dropped, err
}

// Pause records since when an operator has paused the destination; the zero time ends the pause. The log itself treats
// the cursor as before. The time is durable with the next checkpoint.
func (p *Cursor) Pause(since time.Time) {
	p.stream.mu.Lock()
	p.mu.Lock()
	p.at.Paused = since
	p.keepLocked()
	p.mu.Unlock()
	p.stream.mu.Unlock()
	p.log.committer.Touch(commit.AtOnce)
}

// Paused returns when an operator has paused the destination; the zero time: it is not paused.
func (p *Cursor) Paused() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at.Paused
}
