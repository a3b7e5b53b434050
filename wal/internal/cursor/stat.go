package cursor

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Stat is a position at one instant: Appended = Delivered + Dead + Dropped + Pending.
type Stat struct {
	segment.Ledger
	Checkpoint    uint64 // the first offset that is not settled
	Appended      segment.Count
	Pending       segment.Count
	OldestPending time.Time // the time of its append; zero if no event is pending
	Parking       segment.Parking
	Paused        time.Time // since when an operator has paused the destination; zero: it is not paused
}

// Stat returns the stat of the position, which Grow completes.
func (p *Position) Stat() Stat {
	return Stat{Ledger: p.Ledger.Clone(), Checkpoint: p.Needed().First, Parking: p.Parking, Paused: p.Paused}
}

// Grow changes the stat to that of a later moment, when that many events had been appended to the stream.
func (st *Stat) Grow(appended segment.Count) {
	missed := appended.Sub(st.Parking.Kept(appended)).Sub(st.Appended.Sub(st.Parking.Kept(st.Appended)))
	if missed.Events > 0 {
		st.Drop(bounds.DroppedParked, missed)
	}
	st.Appended = appended
	st.Pending = appended.Beyond(st.Settled())
	if st.Checkpoint > appended.Events || st.Parking.Next > 0 && st.Pending.Events == 0 {
		st.Checkpoint = appended.Events + 1
	}
}
