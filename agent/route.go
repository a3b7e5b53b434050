package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
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

// route is one destination of one open stream. It owns the stream's place in the log from newRoute until
// retire, which hands the place to the route that follows or parks it.
type route struct {
	streams  *streams
	stream   string
	conf     config.Destination // for this stream, without its place in the file
	title    string             // its type and name, for people
	cursor   *wal.Cursor
	first    shipper.Shape // as far as the configuration determines it; in use until the sink is built
	before   *route        // had the place until now; nil once this one has started; guarded by streams.changing
	released bool          // retire is done with the place: the next route has it, or it is parked; guarded by streams.changing
	logger   hclog.Logger

	once      sync.Once // start, or the end of a route that was never started
	cancel    context.CancelFunc
	vacant    *latch // the gone of before
	finishing *latch // set by finish
	halting   *latch // set by halt
	attempted *latch // the first attempt to build the sink has ended
	done      *latch // nothing is shipped any more
	gone      *latch // set by retire: the place and the sink's target are free

	pipeline atomic.Pointer[pipeline] // nil: the sink is not built
	closing  sync.Once

	mu      sync.Mutex
	unbuilt shipper.Report // while the sink is not built; guarded by mu
}

// shipping is a route whose sink is built.
type pipeline struct {
	sink    shipper.Sink
	shipper *shipper.Shipper
}

// titleOf names a destination for people.
func titleOf(d config.Destination) string { return fmt.Sprintf("%s %q", d.Type, d.Name) }

// newRoute claims the destination's place, from the route that has it if there is one. streams.changing is held.
func (s *streams) newRoute(stream string, d config.Destination) (*route, error) {
	d.Pos = config.Pos{}
	shape, err := shapeOf(d, envelopeOf(s.log.Branches(stream), stream, d))
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", d.Name, err)
	}
	r := &route{
		streams: s, stream: stream, conf: d, title: titleOf(d), first: shape, logger: s.logger.Named("shipper"),
		vacant: newLatch(), finishing: newLatch(), halting: newLatch(), attempted: newLatch(), done: newLatch(), gone: newLatch(),
		unbuilt: shipper.Report{State: shipper.Running},
	}
	if r.before = s.owners[r.key()]; r.before != nil {
		r.vacant = r.before.gone
	} else {
		r.vacant.set()
	}
	if r.before != nil && !r.before.released {
		r.cursor = r.before.cursor
	} else if r.cursor, err = s.log.OpenCursor(stream, d.Name); err != nil {
		return nil, fmt.Errorf("destination %q: %w", d.Name, err)
	}
	s.owners[r.key()] = r
	return r, nil
}

// cursorKey names a place.
type cursorKey struct{ stream, destination string }

// is reports whether the route ships to the destination d.
func (r *route) is(d config.Destination) bool {
	d.Pos = config.Pos{}
	return r.conf == d
}

func (r *route) key() cursorKey { return cursorKey{r.stream, r.conf.Name} }

// discard releases the claim of newRoute on the place, for a route that was never started. The caller holds
// streams.changing.
func (r *route) discard() {
	owners := r.streams.owners
	delete(owners, r.key())
	if before := r.before; before != nil && !before.gone.isSet() {
		owners[r.key()] = before
		if !before.released {
			return // it goes on, or parks the place
		}
	}
	r.cursor.Park()
}

// start builds the sink and ships from now on, once the route that had the place before is gone.
// streams.changing is held.
func (r *route) start() {
	r.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel = cancel
		r.before = nil // or every route would keep all that were before it
		r.cursor.SetLabel(r.conf.Type)
		go r.run(ctx)
	})
}

func (r *route) run(ctx context.Context) {
	defer r.done.set()
	defer r.cancel()
	if !r.vacant.isSet() {
		r.setReport(shipper.Report{State: shipper.Waiting, LastError: "requests of the settings before are under way"})
	}
	select {
	case <-r.vacant.c:
	case <-r.halting.c:
	case <-ctx.Done():
	}
	s := r.build(ctx)
	if s == nil {
		return
	}
	r.pipeline.Store(s)
	if r.halting.isSet() { // halt and finish may have looked for the shipper before the Store
		s.shipper.Halt(ctx)
	}
	if r.finishing.isSet() {
		s.shipper.Finish()
	}
	learned := learn(ctx, s.sink)
	if err := s.shipper.Run(ctx); errors.Is(err, shipper.ErrStuck) || err != nil && ctx.Err() == nil {
		r.logger.Error("shipping has ended", "stream", r.stream, "destination", r.conf.Name, "error", err)
	}
	r.cancel()
	<-learned
}

// build makes the sink, and tries again for as long as it can't be made. It returns nil when the route is to end.
func (r *route) build(ctx context.Context) *pipeline {
	defer r.attempted.set()
	for delay := r.conf.Retry.Initial; ; delay = min(2*delay, r.conf.Retry.Max) {
		done, ok := r.streams.slots.acquire(ctx)
		if !ok || ctx.Err() != nil || r.halting.isSet() {
			return nil
		}
		around := envelopeOf(r.streams.log.Branches(r.stream), r.stream, r.conf)
		before := r.cursor.State()
		target, err := openSink(ctx, sinkSpec{r.conf, r.stream, around, r.cursor, r.logger})
		done()
		if err == nil {
			r.built()
			s := &pipeline{target, r.newShipper(target)}
			if !bytes.Equal(before, r.cursor.State()) && !r.stored(r.halting, r.finishing) {
				target.Close()
				return nil
			}
			return s
		}
		wait := delay - rand.N(delay/5+1) // agents that share a cause don't come in lockstep
		r.block(err, wait)
		r.attempted.set()
		select {
		case <-time.After(wait):
		case <-r.halting.c:
			return nil
		case <-r.finishing.c:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *route) newShipper(target shipper.Sink) *shipper.Shipper {
	s, d := r.streams, r.conf
	typ := destinationTypes[d.Type] // known: openSink has used it
	var link *shipper.Link
	if typ.usesLink {
		link = s.link
	}
	return shipper.New(shipper.Options{
		Source: s.log, Cursor: r.cursor, Sink: target, Dead: s.dead,
		MaxDelay: d.Batch.MaxDelay,
		Retry:    shipper.Retry{Initial: d.Retry.Initial, Max: d.Retry.Max, Timeout: d.Retry.Timeout},
		Unpaced:  !d.Pace,
		Link:     link, Bandwidth: d.Bandwidth, Priority: priorities[d.Priority],
		Endpoint: typ.endpoint(d), Outages: s.outages,
		Observer: observer{s, r.stream, d.Name},
		Logger:   r.logger,
	})
}

// block records why the sink can't be built, and logs each reason once. Until the sink is built, the log itself drops
// the events that policies drop, since there is no shipper to do it.
func (r *route) block(err error, wait time.Duration) {
	r.cursor.Rest(true)
	now, before := time.Now(), r.report()
	since := before.Since
	if since.IsZero() {
		since = now
	}
	r.setReport(shipper.Report{State: shipper.Blocked, LastError: err.Error(), RetryAt: now.Add(wait), Since: since})
	if before.LastError != err.Error() {
		r.logger.Error("destination cannot be built; its events wait", "stream", r.stream, "destination", r.conf.Name, "error", err)
	}
}

func (r *route) built() {
	r.cursor.Rest(false)
	if before := r.report(); before.State == shipper.Blocked {
		r.logger.Info("destination built", "stream", r.stream, "destination", r.conf.Name, "after", time.Since(before.Since).Round(time.Millisecond))
	}
	r.setReport(shipper.Report{State: shipper.Running})
}

// note sets the report that report returns while the sink is not built.
func (r *route) setReport(report shipper.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unbuilt = report
}

// shape returns the destination's current shape.
func (r *route) shape() shipper.Shape {
	if s := r.pipeline.Load(); s != nil {
		return s.sink.Shape()
	}
	return r.first
}

// report returns the destination's state for operators.
func (r *route) report() shipper.Report {
	if s := r.pipeline.Load(); s != nil {
		return s.shipper.Report()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unbuilt
}

func (r *route) stalled() bool {
	s := r.pipeline.Load()
	return s != nil && s.shipper.Stalled(stallTimeout)
}

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

// learner is a sink that asks its service what it takes, once, and then follows what it is made of.
type learner interface {
	Learn(ctx context.Context)
	Follow(ctx context.Context)
}

// learn asks at the start, since events that are too large for what is known so far are refused, and would
// never make the sink ask. What it returns is closed when that has ended: after ctx.
func learn(ctx context.Context, target shipper.Sink) <-chan struct{} {
	l, ok := target.(learner)
	done := make(chan struct{})
	if !ok {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		l.Learn(ctx)
		l.Follow(ctx)
	}()
	return done
}

var priorities = map[string]shipper.Priority{
	"high": shipper.PriorityHigh, "normal": shipper.PriorityNormal, "low": shipper.PriorityLow,
}

// observer passes on to the metrics what the shipper of one route does.
type observer struct {
	streams             *streams
	stream, destination string
}

func (o observer) Request(code string, d time.Duration) {
	o.streams.metrics.Request(o.stream, o.destination, code, d)
}

func (o observer) Retried(reason string, records int) {
	o.streams.metrics.Retried(o.stream, o.destination, reason, records)
}
