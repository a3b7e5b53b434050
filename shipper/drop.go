package shipper

import "github.com/standpipe/standpipe/wal"

// raiseFloor applies the log's current floor.
func (s *Shipper) raiseFloor() {
	floor := s.opts.Cursor.Floor()
	if floor == s.floor {
		return
	}
	s.floor = floor
	s.dropBelowFloor()
}

// dropBelowFloor drops the events below the floor that no request holds. An event must leave the ledger's pending in
// the step in which its lane's checkpoint moves past it, and the checkpoint can't move past events that a request
// holds. So those are dropped when the request has ended, and the events behind them in the lane not before.
func (s *Shipper) dropBelowFloor() {
	dropped := make(drops)
	for _, l := range s.lanes {
		if !l.holds() {
			s.dropFrom(l, dropped)
		}
	}
	s.countDropped(dropped)
}

// drops counts what was dropped, by reason.
type drops map[string]wal.Count

func (d drops) add(e *wal.Event, floor wal.Floor) {
	reason := floor.Reason(e.Offset)
	d[reason] = d[reason].Plus(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
}

// dropFrom takes the events below the floor out of a lane's queue.
func (s *Shipper) dropFrom(l *lane, dropped drops) {
	n := 0
	for n < len(l.queue) && l.queue[n].Offset < s.floor.Offset() {
		dropped.add(&l.queue[n], s.floor)
		n++
	}
	if n > 0 {
		s.shorten(l, n)
	}
}

func (s *Shipper) countDropped(dropped drops) {
	if len(dropped) > 0 {
		s.record(s.settlement(wal.Ledger{Dropped: dropped}))
	}
}
