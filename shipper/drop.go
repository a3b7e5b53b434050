package shipper

import "github.com/standpipe/standpipe/wal"

// raiseFloor drops what the log asks to be dropped and no request holds.
func (s *Shipper) raiseFloor() {
	floor := s.opts.Place.Floor()
	if floor == s.floor {
		return
	}
	s.floor = floor
	dropped := make(drops)
	for _, l := range s.lanes {
		if !l.busy {
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
	s.shorten(l, n)
}

func (s *Shipper) countDropped(dropped drops) {
	if len(dropped) > 0 {
		s.opts.Place.Settle(s.settlement(wal.Ledger{Dropped: dropped}))
	}
}
