package shipper

import (
	"fmt"
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/wal"
)

// settle takes in the outcome of a request: delivered events leave their lanes, refused ones stay
// at the front, and the log hears of both in one step.
func (s *Shipper) settle(o outcome) {
	now := time.Now()
	s.flights = slices.DeleteFunc(s.flights, func(f *flight) bool { return f == o.flight })
	o.cancel()
	if err := o.reply.Err; err != nil && err.Class == Transient && !o.cut.IsZero() {
		o.reply.Err, o.reply.Code = o.cutOff(o.took), CodeTimeout
	}
	s.moving(now)
	s.bandwidth.correct(o.charged, o.reply.Sent)
	if o.reply.Err == nil {
		s.bandwidth.learn(o.batch.Size(), o.reply.Sent)
	}
	s.opts.Observer.Request(o.reply.Code, o.took)
	add := wal.Ledger{Requests: 1}
	results := s.results(&o, now)
	if s.batcher.pacer != nil && o.reply.Err == nil {
		s.batcher.pacer.Learn(o.samples(results), o.started, now)
	}
	for i, failure := range results {
		if failure == nil {
			s.bill(&add, &o.records[i], o.batch.Shape())
			s.batcher.ratio.Add(o.batch.FramedSize(i), len(o.records[i].Data))
		}
	}
	if strays := o.markStrays(results); strays > 0 { // the service has taken, and bills, these too
		s.opts.Observer.Retried(errAstray.Code, strays)
	}
	for i := range o.batch.Shares() {
		s.settleShare(&o, &o.batch.Shares()[i], results, &add, now)
	}
	if add.Delivered.Events > 0 {
		add.LastDelivery = now
	}
	st := s.lanes.settlement(add)
	st.State = o.reply.State
	s.record(st)
	s.dropBelowFloor() // events that the request held back
}

// results returns the outcome of each record. A request that failed as a whole failed for each.
func (s *Shipper) results(o *outcome, now time.Time) []*Error {
	failure := o.reply.Err
	if failure == nil && len(o.reply.Results) != len(o.records) {
		failure = &Error{Class: Transient, Code: "malformed reply", Record: -1,
			Text: fmt.Sprintf("%d results for %d records", len(o.reply.Results), len(o.records))}
	}
	if failure == nil {
		s.recovered(now)
		s.batcher.halvings = max(s.batcher.halvings-1, 0)
		s.batcher.ceiling.Pass(o.batch.Size(), now)
		s.countRetries(o.reply.Results)
		return o.reply.Results
	}
	if failure.Code == CodeTimeout {
		s.batcher.halvings = min(s.batcher.halvings+1, maxHalvings)
	}
	results := make([]*Error, len(o.records))
	if failure.Class == Poison {
		s.blame(o, failure, results)
		return results
	}
	fill(results, failure)
	s.opts.Observer.Retried(failure.Class.String(), len(results))
	if failure.TooLarge {
		s.batcher.ceiling.Reject(o.batch.Size(), o.batch.Events() > 1, now)
		switch {
		case o.batch.Events() > 1:
			fill(results, errSmaller)
			return results
		case s.failures == nil: // its lane's alone
			return results
		}
	}
	if s.failures == nil || !o.started.Before(s.failures.delay.until) { // not one that set out before the last failure
		s.failures = s.opts.Retry.again(s.failures, failure, now)
		if o.started.Before(s.back) { // it set out while the link was down
			s.failures.cutShort(&s.opts.Retry, now)
		}
		s.opts.Outages.failed(s, s.failures)
		s.overloaded(o, failure, now)
	}
	return results
}

func fill(results []*Error, failure *Error) {
	for i := range results {
		results[i] = failure
	}
}

// relapse is the time after the last trouble's end within which a service that rejects whole requests again, because
// it gets too many, rejects them for their rate: the trouble before may as well have been an outage.
const relapse = 5 * time.Second

// overloaded lowers the rate of all once for each outage that follows another.
func (s *Shipper) overloaded(o *outcome, failure *Error, now time.Time) {
	if s.batcher.pacer == nil || failure.Class != Throttled || s.failures.count > 1 || s.calm.IsZero() || now.Sub(s.calm) > relapse {
		return
	}
	l := pace.Load{Requests: 1}
	for i := range o.records {
		l = l.Plus(o.batch.Sample(i, &o.records[i]).Load, 1)
	}
	s.batcher.pacer.Overloaded(l, o.started, now)
}

// samples returns the evidence that the response to a request gives about the service's rates.
func (o *outcome) samples(results []*Error) []pace.Sample {
	samples := make([]pace.Sample, len(o.records))
	for i := range samples {
		samples[i] = o.batch.Sample(i, &o.records[i])
		switch failure := results[i]; {
		case failure == nil:
			samples[i].Result = pace.Taken
		case failure.Class == Throttled:
			samples[i].Result = pace.Throttled
		}
	}
	return samples
}

// errSmaller: the request was too large for something on the way. Its events go again at once, in smaller ones.
var errSmaller = &Error{Class: Transient, Code: "too large", Record: -1}

// errNotTried: another record of the request was refused, so the service did not look at this one.
var errNotTried = &Error{Class: Transient, Code: "not tried", Record: -1}

// blame marks the records that a refused request may owe its refusal to: the one that the service
// named, or all. The others were not looked at and are sent again at once.
func (s *Shipper) blame(o *outcome, failure *Error, results []*Error) {
	for i := range results {
		results[i] = errNotTried
		if failure.Record < 0 || failure.Record >= len(results) || failure.Record == i {
			results[i] = failure
		}
	}
}

func (s *Shipper) countRetries(results []*Error) {
	byClass := make(map[string]int)
	for _, r := range results {
		if r != nil && r.Class != Poison {
			byClass[r.Class.String()]++
		}
	}
	for class, n := range byClass {
		s.opts.Observer.Retried(class, n)
	}
}

func (s *Shipper) bill(add *wal.Ledger, r *Record, shape *Shape) {
	bytes, units := shape.Billed(shape.Counted(r))
	add.Records++
	add.BilledBytes += bytes
	add.PutUnits += units
}

// settleShare applies the results to one lane's part of the batch.
func (s *Shipper) settleShare(o *outcome, sh *pack.Share, results []*Error, add *wal.Ledger, now time.Time) {
	l := s.lanes.all[sh.Lane]
	l.busy, l.stuck, l.sent = false, false, 0
	sh.DropBelow(l.progress.Checkpoint)
	done := make([]bool, len(sh.Events))
	var failure *Error
	for i := range sh.Events {
		e, record := &sh.Events[i], sh.Record(i)
		if record < 0 {
			continue
		}
		err := results[record]
		switch {
		case err == nil:
			done[i] = true
			add.Delivered.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		case err.Class == Poison && o.guilty(record, results):
			if err := s.bury(e, err); err != nil {
				failure = err
				break
			}
			done[i] = true
			add.Dead.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		case failure == nil || failure == errAstray || err.Class > failure.Class:
			failure = err
		}
	}
	s.judge(l, sh, failure, now)
	s.lanes.held -= l.keep(sh.Events, done)
}

// guilty tells whether the record's refusal is surely its one event's: it holds no other, and no other
// record shares the blame.
func (o *outcome) guilty(record int, results []*Error) bool {
	blamed := 0
	for _, r := range results {
		if r == results[record] {
			blamed++
		}
	}
	return o.records[record].Events == 1 && blamed == 1
}

// trusted is how many events of a lane have to pass for it to be suspected no more.
const trusted = 1024

// judge decides when the lane is tried again, and how much of it.
func (s *Shipper) judge(l *lane, sh *pack.Share, failure *Error, now time.Time) {
	first := !l.misrouted
	l.misrouted = failure == errAstray
	switch {
	case failure == nil:
		l.failures = nil
		if l.suspect *= 2; l.suspect > trusted {
			l.suspect = 0
		}
	case failure.Class == Poison:
		l.suspect = max(1, len(sh.Events)/2)
	case failure == errAstray && first: // at once
	case s.failures == nil && failure != errNotTried && failure != errSmaller:
		l.failures = s.opts.Retry.again(l.failures, failure, now)
		s.logLane(l.failures, now)
	}
}

// bury dead-letters an event. When that fails the event stays and is tried again.
func (s *Shipper) bury(e *wal.Event, refusal *Error) *Error {
	err := s.opts.Dead.Put(wal.DeadLetter{
		Stream: s.stream, Destination: s.opts.Cursor.Name(), Event: *e,
		Reason: refusal.Error(), At: time.Now(),
	})
	if err != nil {
		return &Error{Class: Operator, Code: "dead letter", Record: -1,
			Text: fmt.Sprintf("the refused event %d could not be kept: %v", e.Offset, err)}
	}
	s.logDead(e, refusal)
	return nil
}
