package shipper

import "github.com/standpipe/standpipe/wal"

// drops counts dropped events, by reason.
type drops map[string]wal.Count

func (d drops) add(e *wal.Event, floor wal.Floor) {
	reason := floor.Reason(e.Offset)
	d[reason] = d[reason].Plus(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
}

// dropBelow removes the events below the floor from a lane's queue.
func (s *lanes) dropBelow(l *lane, floor wal.Floor, dropped drops) {
	n := 0
	for n < len(l.queue) && l.queue[n].Offset < floor.Offset() {
		dropped.add(&l.queue[n], floor)
		n++
	}
	if n > 0 {
		s.held -= l.removeFirst(n)
	}
}

// raiseFloor applies the cursor's floor, if it has moved.
func (s *Shipper) raiseFloor() {
	if floor := s.opts.Cursor.Floor(); floor != s.floor {
		s.floor = floor
		s.dropBelowFloor()
	}
}

// dropBelowFloor drops the events below the floor that are in no request. An event must leave the ledger's pending in
// the step in which its lane's checkpoint moves past it, and the checkpoint can't move past events in a request. So
// those are dropped when the request has ended, and the events behind them in the lane not before.
func (s *Shipper) dropBelowFloor() {
	dropped := make(drops)
	for _, l := range s.lanes.all {
		if !l.inRequest() {
			s.lanes.dropBelow(l, s.floor, dropped)
		}
	}
	s.countDropped(dropped)
}

// countDropped settles dropped events, together with the checkpoints that moved past them.
func (s *Shipper) countDropped(dropped drops) {
	if len(dropped) > 0 {
		s.record(s.lanes.settlement(wal.Ledger{Dropped: dropped}))
	}
}
