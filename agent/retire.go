package agent

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

const (
	// haltGrace is the time for the open requests of a replaced or removed route. Slower requests are abandoned, and their
	// events are sent again.
	haltGrace = 2 * time.Second
	// cancelGrace limits the wait for a cancelled route. A sink on a hanging disk may never return.
	cancelGrace = 3 * time.Second
	// hopelessGrace is how long a stop waits for a hopeless destination without deliveries.
	hopelessGrace = time.Second
	// failingLong is the duration of failures from which a destination is hopeless for a stop.
	failingLong = 10 * time.Second
	// checkpointRetry is the interval of attempts to store the checkpoint of an ended route.
	checkpointRetry = time.Second
)

// finish makes the route end after it has shipped the remaining events.
func (r *route) finish() {
	r.finishing.set()
	if s := r.pipeline.Load(); s != nil {
		s.shipper.Finish()
	}
}

// cancelRequests cancels the open requests and starts no more.
func (r *route) cancelRequests() {
	r.once.Do(r.done.set) // never started
	if r.cancel != nil {
		r.cancel()
	}
}

// halt ends shipping after the open requests have ended. After grace it cancels them.
func (r *route) halt(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	r.once.Do(r.done.set) // never started
	r.halting.set()
	if s := r.pipeline.Load(); s != nil {
		s.shipper.Halt(ctx)
	}
	select {
	case <-r.done.c:
		return
	case <-ctx.Done():
	}
	r.cancelRequests()
	select {
	case <-r.done.c:
	case <-time.After(cancelGrace):
		r.logger.Error("destination does not end; not waiting any longer", "stream", r.stream, "destination", r.conf.Name)
	}
}

// wait waits for the end of a finishing route. If ctx ends first, it cancels the open requests. It does not wait for a hopeless
// route without deliveries: its events stay in the WAL. A route in a delay after a failure tries again first.
func (r *route) wait(ctx context.Context) {
	if r.report().State == shipper.Waiting {
		r.retryNow()
	}
	look := time.NewTicker(hopelessGrace / 4)
	defer look.Stop()
	var since time.Time // of the hopeless state with the same pending events
	var pending uint64
	for {
		select {
		case <-r.done.c:
			return
		case <-ctx.Done():
			r.halt(0)
			return
		case now := <-look.C:
			left := r.cursor.Stat().Pending.Events
			if !hopeless(r.report(), now) || left != pending {
				since, pending = now, left
			} else if now.Sub(since) >= hopelessGrace {
				r.halt(haltGrace)
				pending = 0
			}
		}
	}
}

// hopeless reports whether a stop does not wait for a destination: an operator must act first, or nothing has got through for
// long. A throttled destination goes on as soon as it may.
func hopeless(r shipper.Report, now time.Time) bool {
	switch r.State {
	case shipper.Blocked:
		return true
	case shipper.Waiting:
		return r.Waits != shipper.WaitThrottled && !r.Since.IsZero() && now.Sub(r.Since) >= failingLong
	}
	return false
}

// retire ends a route that a new configuration has removed or replaced.
//
// Invariant: a restart never delivers the events of a finished file, under its final name, again. Closing the sink finishes
// its files, so retire closes it only after the WAL has stored the last checkpoint, which covers their events. A crash before
// that leaves the files unfinished, and the next start truncates or finishes them. While the checkpoint cannot be stored, the
// next route of the cursor waits. The cursor has an owner all the time, so that ack = delivered waits for a replaced
// destination. A removed destination is parked as soon as its shipper has ended.
func (s *streams) retire(r *route) {
	defer func() {
		s.changing.Lock()
		defer s.changing.Unlock()
		if s.owners[r.key()] == r {
			delete(s.owners, r.key())
		}
		s.mu.Lock()
		delete(s.leaving, r)
		s.mu.Unlock()
		r.gone.set()
	}()
	r.halt(haltGrace)
	select {
	case <-r.done.c:
	case <-s.stopped.c:
		return
	}
	s.changing.Lock()
	r.released = true
	if s.owners[r.key()] == r {
		r.cursor.Park()
	}
	s.changing.Unlock()
	select {
	case <-r.vacant.c: // the route may have been halted before that
	case <-s.stopped.c:
		return
	}
	built := r.pipeline.Load()
	if built == nil {
		return
	}
	select {
	case <-built.shipper.Ended():
	case <-s.stopped.c:
		return
	}
	if r.stored(s.stopped) {
		r.close()
	}
}

// stored makes the route's settled events and its sink's state durable, and retries until a latch of stop is set. The WAL
// must store the initial state of a sink before the sink's first request: without it a restart after a crash could not
// determine the events in the sink's files. It must store the last checkpoint before the sink is closed: see retire.
func (r *route) stored(stop ...*latch) bool {
	for logged := false; ; {
		err := r.streams.checkpoint()
		if err == nil {
			return true
		}
		if !logged {
			r.logger.Warn("checkpoint not stored; the destination waits for it", "stream", r.stream, "destination", r.conf.Name, "error", err)
			logged = true
		}
		again := time.After(checkpointRetry)
		for _, l := range stop {
			if l.isSet() {
				return false
			}
		}
		select {
		case <-again:
		case <-stop[0].c:
		}
	}
}

// close closes the sink, which finishes its open files. The WAL has stored the last checkpoint before.
func (r *route) close() {
	s := r.pipeline.Load()
	if s == nil {
		return
	}
	select {
	case <-s.shipper.Ended():
	default:
		return // a request is still open: the next start truncates or finishes the sink's files
	}
	r.closing.Do(func() {
		r.cursor.Keep(nil)
		if err := s.sink.Close(); err != nil {
			r.logger.Error("destination not finished", "stream", r.stream, "destination", r.conf.Name, "error", err)
		}
	})
}
