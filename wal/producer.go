package wal

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// producerKey names a producer in a stream: sequences are counted by stream.
type producerKey struct{ id, stream string }

// producerRuns bounds what is remembered of one producer. Batches that follow one another both in
// sequence and in offset make one run.
const producerRuns = 256

const (
	// maxProducers bounds how many producers are remembered; up to twice as many for a while. Those that
	// have been silent for longest are forgotten first: what they send again is stored again.
	maxProducers = 8192
	// evictionDelay is the longest that a producer is remembered beyond ProducerIdle while others append.
	evictionDelay = time.Minute
)

// producer is a producer that numbers its batches.
type producer struct {
	segment.ProducerState
	heard time.Time // when it last sent, by the monotonic clock; zero: not since the log was opened
	pages int64     // bytes that it takes of the state, as far as they are counted
}

// check decides about a batch of n events with the given sequence. known is false when it has to
// be stored.
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
	// Older than what is remembered, or cut otherwise than it was: stored, but not known where.
	return 0, true, nil
}

// stored notes that the batch got the offsets from at on.
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

// keepRuns makes the producer remember its last runs, so many at most.
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
