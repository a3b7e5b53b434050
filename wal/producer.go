package wal

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
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

// producer is what the log remembers of a producer that numbers its batches.
type producer struct {
	next  uint64        // the sequence that continues what is stored; 0: any does
	seen  time.Time     // by the agent's clock
	heard time.Time     // by the monotonic one; zero: not since the log was opened
	runs  []producerRun // ascending
	// mayLeap: the log is a copy, and the producer's next batch may follow others that the copy lacks. In the log it is a
	// run of no events.
	mayLeap bool
	pages   int64 // bytes that it takes of the state, as far as they are counted
}

// producerRun: the events with the sequences [seq, seq+count) have the offsets [offset, offset+count).
type producerRun struct{ seq, offset, count uint64 }

// check decides about a batch of n events with the given sequence. known is false when it has to
// be stored.
func (p *producer) check(id string, sequence, n uint64) (at uint64, known bool, err error) {
	for _, r := range p.runs {
		if sequence >= r.seq && sequence+n <= r.seq+r.count {
			return r.offset + sequence - r.seq, true, nil
		}
	}
	switch {
	case p.next == 0 || sequence == p.next || sequence > p.next && p.mayLeap:
		return 0, false, nil
	case sequence > p.next || sequence+n > p.next:
		return 0, false, &SequenceError{id, sequence, p.next}
	}
	// Older than what is remembered, or cut otherwise than it was: stored, but not known where.
	return 0, true, nil
}

// stored notes that the batch got the offsets from at on.
func (p *producer) stored(sequence, at, n uint64, now time.Time) {
	p.next, p.seen, p.heard, p.mayLeap = sequence+n, now, time.Now(), false
	if k := len(p.runs); k > 0 {
		last := &p.runs[k-1]
		if last.seq+last.count == sequence && last.offset+last.count == at {
			last.count += n
			return
		}
	}
	p.runs = append(p.runs, producerRun{sequence, at, n})
	p.keepRuns(producerRuns)
}

// keepRuns makes the producer remember its last runs, so many at most.
func (p *producer) keepRuns(most int) {
	if over := len(p.runs) - most; over > 0 {
		p.runs = append(p.runs[:0], p.runs[over:]...)
	}
}

// length returns the number of bytes that append adds.
func (p *producer) length() int {
	n := numberLength(p.next) + numberLength(uint64(p.seen.UnixNano())) + numberLength(uint64(len(p.runs)+1))
	if p.mayLeap {
		n += numberLength(p.next) + 2
	}
	for _, r := range p.runs {
		n += numberLength(r.seq) + numberLength(r.offset) + numberLength(r.count)
	}
	return n
}

// numberLength is the length of a uvarint.
func numberLength(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

func (p *producer) append(b []byte) []byte {
	runs := p.runs
	if p.mayLeap {
		runs = append(runs[:len(runs):len(runs)], producerRun{seq: p.next})
	}
	b = appendNumbers(b, p.next, uint64(p.seen.UnixNano()), uint64(len(runs)))
	for _, r := range runs {
		b = appendNumbers(b, r.seq, r.offset, r.count)
	}
	return b
}

func decodeProducer(b []byte) (*producer, error) {
	d := decoder{b: b}
	p := &producer{next: d.number(), seen: time.Unix(0, int64(d.number()))}
	for range d.length() {
		p.runs = append(p.runs, producerRun{d.number(), d.number(), d.number()})
	}
	if k := len(p.runs); k > 0 && p.runs[k-1].count == 0 {
		p.runs, p.mayLeap = p.runs[:k-1], true
	}
	return p, d.err()
}

// stateKey builds a key of the state bucket: a kind and texts, each with its length.
func stateKey(kind byte, texts ...string) []byte {
	b := []byte{kind}
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}

// splitStateKey is stateKey's inverse.
func splitStateKey(k []byte) (kind byte, texts []string, ok bool) {
	if len(k) == 0 {
		return 0, nil, false
	}
	d := decoder{b: k[1:]}
	for len(d.b) > 0 {
		texts = append(texts, string(d.text()))
	}
	return k[0], texts, !d.bad
}

// Kinds of state.
const (
	stateStream   = 's' // next offset and payload bytes of a stream when the segment began
	stateCursor   = 'd'
	stateProducer = 'p'
)

func (p *producer) clone() *producer {
	if p == nil {
		return nil
	}
	c := *p
	c.runs = slices.Clone(p.runs)
	return &c
}
