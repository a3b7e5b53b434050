package segment

import (
	"maps"
	"time"
)

// Ledger counts the outcomes of a stream's events at one destination, and the cost of their delivery.
type Ledger struct {
	Delivered, Dead Count
	Dropped         map[string]Count // by reason
	Requests        uint64
	Records         uint64 // stored by the destination
	BilledBytes     uint64
	PutUnits        uint64
	LastDelivery    time.Time
}

// Lost returns the events that were not delivered and never will be: the dead and the dropped.
func (l *Ledger) Lost() Count {
	c := l.Dead
	for _, d := range l.Dropped {
		c.Add(d)
	}
	return c
}

// Settled returns the events that are delivered, dead or dropped.
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

// Add adds a step to the ledger. Its LastDelivery replaces that of the ledger unless it is zero.
func (l *Ledger) Add(step *Ledger) {
	l.Delivered.Add(step.Delivered)
	l.Dead.Add(step.Dead)
	for reason, c := range step.Dropped {
		l.Drop(reason, c)
	}
	l.Requests += step.Requests
	l.Records += step.Records
	l.BilledBytes += step.BilledBytes
	l.PutUnits += step.PutUnits
	if !step.LastDelivery.IsZero() {
		l.LastDelivery = step.LastDelivery
	}
}

// Clone returns a copy that shares no memory with the ledger.
func (l *Ledger) Clone() Ledger {
	c := *l
	c.Dropped = maps.Clone(l.Dropped)
	return c
}
