package segment

import (
	"time"
)

// Ledger is what has become of a stream's events at one destination, and what it cost.
type Ledger struct {
	Delivered, Dead Count
	Dropped         map[string]Count // by reason
	Requests        uint64
	Records         uint64 // stored by the destination
	BilledBytes     uint64
	PutUnits        uint64
	LastDelivery    time.Time
}

// Lost returns what was not delivered and never will be.
func (l *Ledger) Lost() Count {
	c := l.Dead
	for _, d := range l.Dropped {
		c.Add(d)
	}
	return c
}

// Settled returns what has left the log one way or the other.
func (l *Ledger) Settled() Count {
	return l.Delivered.Plus(l.Lost())
}

// Drop counts c as dropped for the reason.
func (l *Ledger) Drop(reason string, c Count) {
	if l.Dropped == nil {
		l.Dropped = make(map[string]Count)
	}
	d := l.Dropped[reason]
	d.Add(c)
	l.Dropped[reason] = d
}
