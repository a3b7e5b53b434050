package shipper

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/pack"
)

// request is a request under way.
type request struct {
	batch   *pack.Batch
	charged int // bytes of the bandwidth
	started time.Time
	cancel  context.CancelFunc
	cut     time.Time // when it was cut off because it had events to be dropped; zero: it was not
}

// outcome is a request that has ended.
type outcome struct {
	*request
	records  []Record
	response Response
	started  time.Time // after the records were framed
	took     time.Duration
}

// dispatch starts a request for each batch that is worth one, as long as requests are free. It returns the time until it
// has to be called again.
func (s *Shipper) dispatch(ctx context.Context, now time.Time) time.Duration {
	for !s.halting && !s.turns.Holds() && len(s.requests) < s.window {
		under := underWay(s.requests, now)
		if under > 0 && !s.batcher.sizer.Beside(under+under/4, true) { // no batch of use fits, so none is formed
			return longRequest
		}
		// While all requests fail, none starts before the backoff is over. Then one tries, and the others wait for its
		// outcome.
		if s.failures.BackingOff(now) {
			return s.failures.Delay.Left(now)
		}
		if s.failures != nil && len(s.requests) > 0 {
			return backoff.Forever
		}

		// The next batch, and bandwidth for it. A batch without bandwidth is dropped: when its turn comes, one is formed
		// of the events that wait then.
		if s.bandwidth.hold(now).Holds(now) {
			return backoff.Forever
		}
		batch, wake := s.nextBatch(now)
		if batch == nil {
			return wake
		}
		if under > 0 && !s.batcher.sizer.Beside(under+batch.Size(), batch.Full()) {
			return longRequest
		}
		if left, waits := s.outOfReach(now); waits {
			return left
		}
		charged, ok := s.bandwidth.reserve(batch.Size())
		if !ok {
			return backoff.Forever
		}
		s.batcher.sent()
		s.turns.Sent(batch.Size())

		// Its lanes start no other request before it has ended. Their events stay in the queues until then.
		for i := range batch.Shares() {
			share := &batch.Shares()[i]
			l := s.lanes.all[share.Lane]
			l.busy, l.sent, l.began = true, len(share.Events), now
		}
		cancelable, cancel := context.WithCancel(ctx)
		r := &request{batch: batch, charged: charged, started: time.Now(), cancel: cancel}
		s.requests = append(s.requests, r)
		go func() {
			records := batch.Records()
			started := time.Now()
			limited, stop := context.WithTimeout(cancelable, s.opts.Retry.Timeout)
			defer stop()
			response := s.opts.Sink.Send(limited, records)
			s.outcomes <- outcome{request: r, records: records, response: response, started: started, took: time.Since(started)}
		}()
	}
	return backoff.Forever
}

// underWay returns the bytes of the requests that do not take long.
func underWay(requests []*request, now time.Time) (bytes int) {
	for _, r := range requests {
		if now.Sub(r.started) < longRequest {
			bytes += r.batch.Size()
		}
	}
	return bytes
}
