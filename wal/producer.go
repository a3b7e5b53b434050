package wal

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// producerKey names a producer in a stream: sequences are counted by stream.
type producerKey struct{ id, stream string }

// producerRuns is the most runs that are kept of one producer. Batches that follow one another both in sequence and in
// offset form one run.
const producerRuns = 256

const (
	// maxProducers is the number of producers that the log keeps, and for a while twice as many. Those that have sent
	// nothing for the longest time are evicted first. A batch that an evicted producer repeats is stored again.
	maxProducers = 8192
	// evictionDelay is the longest time that a producer is kept beyond ProducerIdle while others append.
	evictionDelay = time.Minute
)

// producer is a producer that numbers its batches.
type producer struct {
	segment.ProducerState
	heard time.Time // the time of its last batch, by the monotonic clock; zero: none since the log was opened
	pages int64     // bytes that it takes of the state, as far as they are counted
}

// check decides whether t's batch is stored already. known is false if it is not. at is the offset of a known batch; 0:
// that is no longer known.
func (p *producer) check(t *Ticket) (at uint64, known bool, err error) {
	for _, r := range p.Runs {
		if t.sequence >= r.Seq && t.next <= r.Seq+r.Count {
			return r.Offset + t.sequence - r.Seq, true, nil
		}
	}
	switch {
	case p.Next == 0 || t.sequence == p.Next || t.sequence > p.Next && (p.MayLeap || t.leaps):
		return 0, false, nil
	case t.sequence > p.Next || t.next > p.Next:
		return 0, false, &SequenceError{t.producer.id, t.sequence, p.Next}
	}
	// The batch is older than the kept runs, was cut differently when it was stored, or leaves out sequences. It is
	// stored, at an unknown offset.
	return 0, true, nil
}

// stored records that t's batch got the offsets from at on. A batch that leaves out sequences is part of no run.
func (p *producer) stored(t *Ticket, at uint64, now time.Time) {
	p.Next, p.Seen, p.heard, p.MayLeap = t.next, now, time.Now(), false
	sequence, n := t.sequence, uint64(t.events)
	if sequence+n != t.next {
		return
	}
	if k := len(p.Runs); k > 0 {
		last := &p.Runs[k-1]
		if last.Seq+last.Count == sequence && last.Offset+last.Count == at {
			last.Count += n
			return
		}
	}
	p.Runs = append(p.Runs, segment.ProducerRun{Seq: sequence, Offset: at, Count: n})
	p.keepRuns(producerRuns)
}

// keepRuns keeps the last runs, at most most, and removes the others.
func (p *producer) keepRuns(most int) {
	if over := len(p.Runs) - most; over > 0 {
		p.Runs = append(p.Runs[:0], p.Runs[over:]...)
	}
}

func (p *producer) clone() *producer {
	if p == nil {
		return nil
	}
	c := *p
	c.Runs = slices.Clone(p.Runs)
	return &c
}
