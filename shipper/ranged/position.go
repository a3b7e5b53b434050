package ranged

import (
	"slices"

	"github.com/standpipe/standpipe/wal"
)

// position is the progress of the stream's lanes.
type position struct {
	lanes      [wal.Lanes]wal.Progress
	checkpoint uint64 // every event below is settled
}

func newPosition(lanes [wal.Lanes]wal.Progress) position {
	p := position{lanes: lanes, checkpoint: lanes[0].Checkpoint}
	for i := range lanes {
		p.checkpoint = min(p.checkpoint, lanes[i].Checkpoint)
	}
	return p
}

// noteLost takes over the progress that the cursor made when a corrupt part was given up.
func (p *position) noteLost(c *chunk, cursor Cursor) {
	if c.lost {
		p.lanes = cursor.Lanes()
	}
}

func (p *position) settled(e *wal.Event) bool { return p.lanes[e.Lane].Done(e.Offset) }

// advance makes next the checkpoint, unless it is further already, and returns the progress of all lanes for a settlement.
func (p *position) advance(next uint64) map[uint8]wal.Progress {
	p.checkpoint = max(p.checkpoint, next)
	moved := make(map[uint8]wal.Progress, wal.Lanes)
	for i := range p.lanes {
		p.lanes[i] = wal.Progress{Checkpoint: p.checkpoint}.With(p.lanes[i])
		moved[uint8(i)] = wal.Progress{Checkpoint: p.lanes[i].Checkpoint, Settled: slices.Clone(p.lanes[i].Settled)}
	}
	return moved
}
