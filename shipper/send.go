package shipper

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pack"
)

// outcome is what became of a request.
type outcome struct {
	*flight
	records []Record
	reply   Response
	started time.Time // after the records were made
	took    time.Duration
}

// dispatch sends as many batches as are due and have a free request. It returns the time until the
// next may be.
func (s *Shipper) dispatch(ctx context.Context, now time.Time) time.Duration {
	wake := forever
	for len(s.flights) < s.window && !s.halting {
		if s.failures != nil {
			if s.failures.backingOff(now) {
				return s.failures.delay.left(now)
			}
			if len(s.flights) > 0 {
				return wake // one request tries; the others wait for how it goes
			}
		}
		if s.bandwidth.waiting() {
			return wake
		}
		b, due := s.batcher.next(now, s.demand(), s.feed.reading)
		if b == nil {
			return due
		}
		charged, ok := s.bandwidth.reserve(b.Size())
		if !ok {
			return wake
		}
		s.send(ctx, b, charged)
	}
	return wake
}

// send marks the batch's lanes busy and lets a goroutine frame and send it.
func (s *Shipper) send(ctx context.Context, b *pack.Batch, charged int) {
	for i := range b.Shares() {
		sh := &b.Shares()[i]
		l := s.lanes.all[sh.Lane]
		l.busy, l.sent = true, len(sh.Events)
	}
	s.batcher.sent()
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{batch: b, charged: charged, started: time.Now(), cancel: cancel}
	s.flights = append(s.flights, f)
	if s.batcher.pacer != nil {
		s.batcher.pacer.Spend()
	}
	go func() {
		records := b.Records()
		started := time.Now()
		ctx, stop := context.WithTimeout(ctx, s.opts.Retry.Timeout)
		defer stop()
		reply := s.opts.Sink.Send(ctx, records)
		s.outcomes <- outcome{flight: f, records: records, reply: reply, started: started, took: time.Since(started)}
	}()
}
