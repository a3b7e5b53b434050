package wal

import "time"

// producerState is a producer's entry of the state, in which every number is a uvarint:
//
//	next, seen in Unix nanoseconds, n × (sequence, offset, events)
type producerState struct {
	next uint64        // the sequence that continues the stored ones; 0: any does
	seen time.Time     // when it last sent, by the agent's clock
	runs []producerRun // ascending
	// mayLeap: the log is a copy, and the producer's next batch may follow others that the copy lacks. It is encoded as a
	// last run of no events.
	mayLeap bool
}

// producerRun: the events with the sequences [seq, seq+count) have the offsets [offset, offset+count).
type producerRun struct{ seq, offset, count uint64 }

// append encodes the entry.
func (p *producerState) append(b []byte) []byte {
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

// decode decodes the result of append.
func (p *producerState) decode(b []byte) error {
	d := decoder{b: b}
	p.next, p.seen = d.number(), time.Unix(0, int64(d.number()))
	for range d.length() {
		p.runs = append(p.runs, producerRun{d.number(), d.number(), d.number()})
	}
	if k := len(p.runs); k > 0 && p.runs[k-1].count == 0 {
		p.runs, p.mayLeap = p.runs[:k-1], true
	}
	return d.err()
}

// length returns the number of bytes that append adds.
func (p *producerState) length() int {
	n := numberLength(p.next) + numberLength(uint64(p.seen.UnixNano())) + numberLength(uint64(len(p.runs)+1))
	if p.mayLeap {
		n += numberLength(p.next) + 2
	}
	for _, r := range p.runs {
		n += numberLength(r.seq) + numberLength(r.offset) + numberLength(r.count)
	}
	return n
}
