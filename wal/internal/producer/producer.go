package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Key is a producer in a stream: sequences are counted by stream. The zero value is no producer.
type Key struct{ ID, Stream string }

// Batch is a numbered batch of a producer.
type Batch struct {
	Producer Key
	Sequence uint64 // of its first event
	Next     uint64 // the sequence that follows the batch
	Leaps    bool   // the producer leaves out sequences
	Events   uint64
}

// ErrSequence is wrapped by a SequenceError.
var ErrSequence = errors.New("wal: producer sequence out of order")

// SequenceError is an ErrSequence with its numbers.
type SequenceError struct {
	Producer  string
	Got, Want uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("wal: producer %q: sequence %d, want %d", e.Producer, e.Got, e.Want)
}

// Is makes errors.Is(err, ErrSequence) hold.
func (e *SequenceError) Is(target error) bool { return target == ErrSequence }

// MaxRuns is the most runs that are kept of one producer. Batches that follow one another both in sequence and in
// offset form one run.
const MaxRuns = 256

// producer is a producer that numbers its batches.
type producer struct {
	segment.ProducerState
	key      Key
	home     uint64    // the last segment that has the whole entry
	lastSent time.Time // the time of its last batch, by the monotonic clock; zero: none since the log was opened
	runs     int       // bytes of the encoded Runs
	end      uint64    // no run has a sequence from here on
	bytes    int64     // that it takes of the state, as far as they are counted
	changed  bool      // it is part of the Changes of the group under way
}

// recognize decides whether the batch is stored already. known is false if it is not. at is the offset of a known batch
// whose events have consecutive offsets; 0: that is not known.
func (p *producer) recognize(b *Batch) (at uint64, known bool, err error) {
	runs := p.Runs
	if b.Sequence >= p.end { // as usual: the batch is new
		runs = nil
	}
	for _, r := range runs {
		switch {
		case b.Sequence < r.Seq || b.Next > r.Seq+r.Count:
		case b.Next-b.Sequence > b.Events: // which of the stored events it has is not known
			return 0, true, nil
		default:
			return r.Offset + b.Sequence - r.Seq, true, nil
		}
	}
	switch {
	case p.Next == 0 || b.Sequence == p.Next || b.Sequence > p.Next && (p.MayLeap || b.Leaps):
		return 0, false, nil
	case b.Sequence > p.Next || b.Next > p.Next:
		return 0, false, &SequenceError{b.Producer.ID, b.Sequence, p.Next}
	}
	// The batch is older than the kept runs, was cut differently when it was stored, or leaves out sequences. It is
	// stored, at an unknown offset.
	return 0, true, nil
}

// store records that the batch got the offsets from at on. A batch that leaves out sequences is part of no run. Except for
// the last run, it changes none that another slice may have.
func (p *producer) store(b *Batch, at uint64, now time.Time) {
	p.Next, p.Seen, p.MayLeap = b.Next, now, false
	sequence, n := b.Sequence, b.Events
	if sequence+n != b.Next {
		return
	}
	p.end = max(p.end, b.Next)
	if k := len(p.Runs); k > 0 {
		last := &p.Runs[k-1]
		if last.Seq+last.Count == sequence && last.Offset+last.Count == at {
			p.runs -= last.Length()
			last.Count += n
			p.runs += last.Length()
			return
		}
	}
	if k := len(p.Runs); k == cap(p.Runs) && k >= spareRuns {
		p.Runs = append(make([]segment.ProducerRun, 0, k+spareRuns), p.Runs...)
	}
	p.Runs = append(p.Runs, segment.ProducerRun{Seq: sequence, Offset: at, Count: n})
	p.runs += p.Runs[len(p.Runs)-1].Length()
	p.keepRuns(MaxRuns)
}

// spareRuns is the number of runs for which a slice of many runs has memory when it is made anew.
const spareRuns = 64

// keepRuns keeps the last runs, at most most, and removes the others.
func (p *producer) keepRuns(most int) {
	for len(p.Runs) > most {
		p.runs -= p.Runs[0].Length()
		p.Runs = p.Runs[1:]
	}
}

// measure calculates the bytes of the runs, and where they end.
func (p *producer) measure() {
	p.runs, p.end = 0, 0
	for i := range p.Runs {
		r := &p.Runs[i]
		p.runs += r.Length()
		p.end = max(p.end, r.Seq+r.Count)
	}
}

// idle returns for how long the producer has sent nothing. The time before the log was opened is measured by the
// agent's clock only, and counts only if that clock has run evenly for a while.
func (p *producer) idle(now, wall, opened time.Time, even bool) time.Duration {
	if !p.lastSent.IsZero() {
		return now.Sub(p.lastSent)
	}
	idle := now.Sub(opened)
	if even {
		idle = max(idle, wall.Sub(p.Seen))
	}
	return idle
}
