package segment

import "time"

// ProducerState is a producer's entry of the state, in which every number is a uvarint:
//
//	next, seen in Unix nanoseconds, n × (sequence, offset, events), through unless it is 0
type ProducerState struct {
	Next uint64        // the sequence that continues the stored ones; 0: any does
	Seen time.Time     // when it last sent, by the agent's clock
	Runs []ProducerRun // ascending
	// MayLeap: the log is a copy, and the producer's next batch may come after batches that the copy lacks. It is
	// encoded as a last run of no events.
	MayLeap bool
	// Through is the number of the last block whose notes the entry includes. It is not 0 only in a segment that has blocks
	// with notes: earlier releases, which cannot decode it, reject those.
	Through uint64
}

// ProducerRun: the events with the sequences [seq, seq+count) have the offsets [offset, offset+count).
type ProducerRun struct{ Seq, Offset, Count uint64 }

// Append encodes the entry.
func (p *ProducerState) Append(b []byte) []byte {
	runs := p.Runs
	if p.MayLeap {
		runs = append(runs[:len(runs):len(runs)], ProducerRun{Seq: p.Next})
	}
	b = AppendNumbers(b, p.Next, uint64(p.Seen.UnixNano()), uint64(len(runs)))
	for _, r := range runs {
		b = AppendNumbers(b, r.Seq, r.Offset, r.Count)
	}
	if p.Through > 0 {
		b = AppendNumbers(b, p.Through)
	}
	return b
}

// Decode decodes the result of Append.
func (p *ProducerState) Decode(b []byte) error {
	d := Decoder{Rest: b}
	p.Next, p.Seen = d.Number(), time.Unix(0, int64(d.Number()))
	for range d.length() {
		p.Runs = append(p.Runs, ProducerRun{d.Number(), d.Number(), d.Number()})
	}
	if k := len(p.Runs); k > 0 && p.Runs[k-1].Count == 0 {
		p.Runs, p.MayLeap = p.Runs[:k-1], true
	}
	if len(d.Rest) > 0 {
		p.Through = d.Number()
	}
	return d.err()
}

// Length returns the most bytes that Append adds, if the runs take that many.
func (p *ProducerState) Length(runs int) int {
	const through = 4
	n := numberLength(p.Next) + numberLength(uint64(p.Seen.UnixNano())) + numberLength(uint64(len(p.Runs)+1)) + runs + through
	if p.MayLeap {
		n += numberLength(p.Next) + 2
	}
	return n
}

// Length returns the bytes that a run takes.
func (r *ProducerRun) Length() int {
	return numberLength(r.Seq) + numberLength(r.Offset) + numberLength(r.Count)
}
