package cursor

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Park ends the position at the end of the stream: later events are not kept for the destination. It has no effect on
// a position that is parked.
func (p *Position) Park(appended segment.Count, at time.Time) {
	if p.Parking.Next == 0 {
		p.Parking = segment.Parking{Next: appended.Events + 1, Bytes: appended.Bytes, At: at}
	}
}

// Return ends the parking: the events that were appended meanwhile count as dropped, and the position continues after
// them. It has no effect on a position that is not parked.
func (p *Position) Return(appended segment.Count) {
	if p.Parking.Next == 0 {
		return
	}
	missed := segment.Run{First: p.Parking.Next, Next: appended.Events + 1}
	if c := appended.Beyond(p.Parking.Kept(appended)); c.Events > 0 {
		p.Ledger.Drop(bounds.DroppedParked, c)
		settled := make(map[uint8]segment.Progress, segment.Lanes)
		for lane := range uint8(segment.Lanes) {
			settled[lane] = segment.Progress{Settled: []segment.Run{missed}}
		}
		p.Move(p.Moved(settled), true)
	}
	p.Parking = segment.Parking{}
	p.noteNeed()
}

// Commit records that the lanes and the result of Needed, both of an earlier moment, are on the disk. If the position has
// returned since, its new events are needed all the same.
func (p *Position) Commit(lanes [segment.Lanes]segment.Progress, needed segment.Run) {
	p.Synced, p.SyncedNeed = lanes, needed
	p.noteNeed()
}

// noteNeed widens the needed range by that of a position that is not parked.
func (p *Position) noteNeed() {
	if p.Parking.Next == 0 {
		synced := segment.CursorState{Lanes: p.Synced}
		p.SyncedNeed = segment.Run{First: min(p.SyncedNeed.First, synced.Checkpoint()), Next: segment.NoEnd}
	}
}

// SyncedLanes returns the lanes on the disk, as if all events outside of the needed range were settled.
func (p *Position) SyncedLanes() [segment.Lanes]segment.Progress {
	lanes := p.Synced
	for i := range lanes {
		switch {
		case p.SyncedNeed.First == segment.NoEnd:
			lanes[i] = segment.Progress{Checkpoint: segment.NoEnd}
		case p.SyncedNeed.Next < segment.NoEnd:
			beyond := segment.Progress{Settled: []segment.Run{{First: p.SyncedNeed.Next, Next: segment.NoEnd}}}
			lanes[i] = beyond.With(lanes[i])
		}
	}
	return lanes
}
