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

// check decides whether a batch of n events with the given sequence is stored already. known is false if it is not. at
// is the offset of a known batch; 0: that is no longer known.
func (p *producer) check(id string, sequence, n uint64) (at uint64, known bool, err error) {
	for _, r := range p.Runs {
		if sequence >= r.Seq && sequence+n <= r.Seq+r.Count {
			return r.Offset + sequence - r.Seq, true, nil
		}
	}
	switch {
	case p.Next == 0 || sequence == p.Next || sequence > p.Next && p.MayLeap:
		return 0, false, nil
	case sequence > p.Next || sequence+n > p.Next:
		return 0, false, &SequenceError{id, sequence, p.Next}
	}
	// The batch is older than the kept runs, or was cut differently when it was stored. It is stored, at an unknown
	// offset.
	return 0, true, nil
}

// stored records that the batch got the offsets from at on.
func (p *producer) stored(sequence, at, n uint64, now time.Time) {
	p.Next, p.Seen, p.heard, p.MayLeap = sequence+n, now, time.Now(), false
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
