package wal

import (
	"cmp"
	"fmt"
	"time"
)

// Limits are the options of a log that may change while it is open. A zero field is the default of its option.
type Limits struct {
	MaxSize int64         // see Options
	OnFull  OnFull        // see Options
	Retain  time.Duration // see Options
}

// smallestPerState is the least MaxSize, as a multiple of the size of the state: see capacity.MostState.
const smallestPerState = 8

// CheckLimits returns an error if SetLimits would leave the log unusable: with too few bytes for its streams, destinations and
// producers, which do not become fewer when events are settled.
func (l *Log) CheckLimits(x Limits) error {
	o := Options{Dir: l.opts.Dir, MaxSize: x.MaxSize, OnFull: x.OnFull, Retain: x.Retain}
	if err := o.validate(); err != nil {
		return err
	}
	if least := smallestPerState * l.capacity.StateBytes.Load(); o.MaxSize < least {
		return fmt.Errorf("wal: a maximum size of %d bytes is under %d, which the streams, destinations and producers of the log need", o.MaxSize, least)
	}
	return nil
}

// SetLimits changes the limits. No event is lost: if more than MaxSize bytes are in use, appends are handled as in a full log
// until enough events are settled. Waiting appends are handled by the new limits. The caller has called CheckLimits.
func (l *Log) SetLimits(x Limits) {
	mode := cmp.Or(x.OnFull, Reject)
	l.onFull.Store(&mode)
	l.capacity.SetMax(cmp.Or(x.MaxSize, DefaultMaxSize))
	l.retained.SetPeriod(x.Retain)
	l.truncator.Trim()
	l.committer.Wake()
	for _, s := range l.streams.sorted() {
		s.settled.Wake()
	}
}

// whenFull returns the handling of an append when the log is full.
func (l *Log) whenFull() OnFull { return *l.onFull.Load() }
