package agent

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

const (
	// haltGrace is how long a route that is replaced or removed waits for the requests under way. Those that take
	// longer are abandoned: their events are sent again.
	haltGrace = 2 * time.Second
	// cancelGrace bounds the wait for a route that was cut off. A sink whose disk hangs may never return.
	cancelGrace = 3 * time.Second
	// blockedGrace is how long a stop waits for a blocked destination that delivers nothing.
	blockedGrace = time.Second
	// checkpointRetry is the time between two attempts to store the checkpoint of a route that has ended.
	checkpointRetry = time.Second
)

// finish makes the route ship the remaining events and then end.
func (r *route) finish() {
	r.finishing.set()
	if s := r.pipeline.Load(); s != nil {
		s.shipper.Finish()
	}
}

// cancelRequests ends the requests under way, and sends no more.
func (r *route) cancelRequests() {
	r.once.Do(r.done.set) // never started
	if r.cancel != nil {
		r.cancel()
	}
}

// halt ends shipping once the requests under way have ended, or after grace: then they are cut off.
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
		r.logger.Error("destination does not end; it is left", "stream", r.stream, "destination", r.conf.Name)
	}
}

// wait waits for the end of a route that finishes. When ctx ends first, the requests under way are cut off. One that
// is blocked and delivers nothing is not waited for: its events stay in the log.
func (r *route) wait(ctx context.Context) {
	look := time.NewTicker(blockedGrace / 4)
	defer look.Stop()
	var since time.Time // it is blocked, with so many events
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
			if r.report().State != shipper.Blocked || left != pending {
				since, pending = now, left
			} else if now.Sub(since) >= blockedGrace {
				r.halt(haltGrace)
				pending = 0
			}
		}
	}
}

// retire ends a route that the configuration no longer has as it is.
//
// A finished file, one under its final name, holds no event that a restart delivers again. Closing the sink finishes
// its files, so retire closes it only once the log holds the last checkpoint, which covers their events: a crash
// before that leaves the files unfinished, and the next start cuts or finishes them. For as long as the checkpoint
// can't be stored, the next route of the place waits. The place has an owner throughout, so that ack = delivered waits
// for a destination that is replaced; a removed destination is parked as soon as its shipper has ended.
func (s *streams) retire(r *route) {
	defer func() {
		s.changing.Lock()
		defer s.changing.Unlock()
		if s.owners[r.key()] == r {
			delete(s.owners, r.key())
		}
		delete(s.leaving, r)
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
	case <-r.vacant.c: // it may have been halted before that
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

// stored makes the route's settled events and its sink's state durable, and retries until a latch of stop is set. The
// log has to hold the initial state of a sink before the sink's first request: without it, a restart after a crash
// could not determine which events the sink's files may hold. It has to hold the last checkpoint before the sink is
// closed: see retire.
func (r *route) stored(stop ...*latch) bool {
	for said := false; ; {
		err := r.streams.checkpoint()
		if err == nil {
			return true
		}
		if !said {
			r.logger.Warn("checkpoint not stored; the destination waits for it", "stream", r.stream, "destination", r.conf.Name, "error", err)
			said = true
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

// close closes the sink, which finishes its open files; the log holds the last checkpoint by now.
func (r *route) close() {
	s := r.pipeline.Load()
	if s == nil {
		return
	}
	select {
	case <-s.shipper.Ended():
	default:
		return // a request has not returned: the next start cuts or finishes the sink's open files
	}
	r.closing.Do(func() {
		r.cursor.Keep(nil)
		if err := s.sink.Close(); err != nil {
			r.logger.Error("a destination could not be finished", "stream", r.stream, "destination", r.conf.Name, "error", err)
		}
	})
}
