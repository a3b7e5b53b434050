package shipper

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/wal"
)

// settle ends a request. Stored events and events that are dead letters now leave their lanes; the others stay at the
// front and are sent again. The log gets the new checkpoints and the counts of the ended events in one step, so they
// never disagree.
func (s *Shipper) settle(o outcome) {
	now := time.Now()

	// The request is over. If it was cut off, its outcome is unknown.
	s.requests = slices.DeleteFunc(s.requests, func(r *request) bool { return r == o.request })
	o.cancel()
	if err := o.response.Err; err != nil && err.Class == Transient && !o.cut.IsZero() {
		o.response.Err, o.response.Code = o.cutOff(o.took), CodeTimeout
	}
	s.moving(now)
	s.bandwidth.correct(o.charged, o.response.Sent)
	s.sent += uint64(o.response.Sent)
	if o.response.Err == nil {
		s.bandwidth.learn(o.batch.Size(), o.response.Sent)
	}
	s.opts.Observer.Request(o.response.Code, o.took)

	// Each record is stored, or has a failure. The service bills stored records, also those in a wrong shard, which have
	// to be sent again.
	results := s.results(&o, now)
	if s.batcher.pacer != nil && o.response.Err == nil {
		s.samples = o.appendSamples(s.samples[:0], results)
		s.batcher.pacer.Learn(s.samples, o.started, now)
	}
	add := wal.Ledger{Requests: 1, PutUnits: o.response.Units}
	for i, failure := range results {
		if failure == nil {
			shape := o.batch.Shape()
			bytes, units := shape.Billed(shape.Counted(&o.records[i]))
			add.Records++
			add.BilledBytes += bytes
			add.PutUnits += units
			s.batcher.ratio.Add(o.batch.FramedSize(i), len(o.records[i].Data))
		}
	}
	if n := o.markMisrouted(results); n > 0 {
		s.opts.Observer.Retried(errMisrouted.Code, n)
	}

	// Each lane keeps the events that have not ended.
	for i := range o.batch.Shares() {
		share := &o.batch.Shares()[i]
		l := s.lanes.all[share.Lane]
		l.busy, l.stuck, l.sent = false, false, 0
		share.DropBelow(l.progress.Checkpoint)
		done, failure := s.endEvents(&o, share, results, &add)
		s.scheduleLane(l, len(share.Events), failure, now)
		s.lanes.held -= l.keep(share.Events, done)
	}

	// One step for the log.
	if add.Delivered.Events > 0 {
		add.LastDelivery = now
	}
	step := s.lanes.settlement(add)
	step.State = o.response.State
	s.record(step)
	s.dropBelowFloor() // events that the request held back
}

// endEvents counts the events of a share that have ended, and makes dead letters of rejected ones. done[i] reports whether
// event i has ended. failure is the worst failure of the others.
func (s *Shipper) endEvents(o *outcome, share *pack.Share, results []*Error, add *wal.Ledger) (done []bool, failure *Error) {
	done = make([]bool, len(share.Events))
	for i := range share.Events {
		e, record := &share.Events[i], share.Record(i)
		if record < 0 {
			continue
		}
		err := results[record]
		switch {
		case err == nil:
			done[i] = true
			add.Delivered.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			if e.Offset > s.newest.offset {
				s.newest.offset, s.newest.time = e.Offset, e.Time
			}
		case err.Class == Poison && o.guilty(record, results):
			if err := s.bury(e, err); err != nil {
				failure = err
				break
			}
			done[i] = true
			add.Dead.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		case failure == nil || failure == errMisrouted || err.Class > failure.Class:
			failure = err
		}
	}
	return done, failure
}

// scheduleLane decides when the lane of a request with that many of its events is tried again, and with how many.
func (s *Shipper) scheduleLane(l *lane, events int, failure *Error, now time.Time) {
	first := !l.misrouted
	l.misrouted = failure == errMisrouted
	switch {
	case failure == nil:
		l.failures = nil
		l.trust()
	case failure.Class == Poison:
		l.suspect = max(1, events/2)
	case failure == errMisrouted && first: // at once
	case s.failures == nil && failure != errNotTried && failure != errSmaller:
		l.failures = s.opts.Retry.Again(l.failures, failure, now)
		s.warnings.Lane(l.failures, now)
	}
}

// record settles a step in the log, and takes back the step's map. An error of the log means that the shipper has counted
// wrong.
func (s *Shipper) record(step wal.Settlement) {
	if err := s.opts.Cursor.Settle(step); err != nil {
		s.warnings.Fault(err)
	}
	if step.Lanes != nil {
		clear(step.Lanes)
		steps.Put(step.Lanes)
	}
}

// publish settles the progress of lanes that moved without an event.
func (s *Shipper) publish() {
	if step := s.lanes.settlement(wal.Ledger{}); len(step.Lanes) > 0 {
		s.record(step)
	}
}

// appendSamples appends the evidence that the response to a request gives about the service's rates.
func (o *outcome) appendSamples(to []pace.Sample, results []*Error) []pace.Sample {
	for i, failure := range results {
		sample := o.batch.Sample(i, &o.records[i])
		switch {
		case failure == nil:
			sample.Result = pace.Taken
		case failure.Class == Throttled:
			sample.Result = pace.Throttled
		}
		to = append(to, sample)
	}
	return to
}
