package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// route is one destination of one open stream. It owns the destination's cursor from newRoute until retire, which passes the
// cursor to the next route or parks it.
type route struct {
	streams *streams
	stream  string
	conf    config.Destination // for this stream, without Pos
	title   string             // its type and name, for messages
	cursor  *wal.Cursor
	first   shipper.Shape // as far as the configuration determines it; used until the sink is built
	before  *route        // the previous owner of the cursor; nil after start; guarded by streams.changing
	// bandwidth is the destination's own cap, shared with its replay; nil: none
	bandwidth *shipper.Link
	released  bool // retire has passed on or parked the cursor; guarded by streams.changing
	logger    hclog.Logger

	once      sync.Once // start, or the end of a route that never started
	cancel    context.CancelFunc
	vacant    *latch // the gone of before, or the end of finishParked for the destination
	finishing *latch // set by finish
	halting   *latch // set by halt
	attempted *latch // the first build of the sink has ended
	resumed   *latch // a pause has ended
	done      *latch // shipping has ended
	gone      *latch // set by retire: the cursor and the sink's target are free

	again    chan struct{}            // holds one: build again now
	pipeline atomic.Pointer[pipeline] // nil until the sink is built
	closing  sync.Once

	mu      sync.Mutex
	unbuilt shipper.Report // while the sink is not built; guarded by mu
}

// pipeline is the sink and the shipper of a route.
type pipeline struct {
	sink interface {
		Shape() shipper.Shape
		Close() error
	}
	shipper interface {
		Run(ctx context.Context) error
		Finish()
		Halt(ctx context.Context)
		Ended() <-chan struct{}
		Retry()
		Report() shipper.Report
		Stalled(after time.Duration) bool
	}
}

// titleOf returns a destination's type and name, for messages.
func titleOf(d config.Destination) string { return fmt.Sprintf("%s %q", d.Type, d.Name) }

// newRoute claims the destination's cursor, from its present owner if there is one. streams.changing is held.
func (s *streams) newRoute(stream string, d config.Destination) (*route, error) {
	d.Pos, d.Provision = config.Pos{}, config.Provision{}
	shape, err := destination.Shape(d, destination.Envelope(s.log.Branches(stream), stream, d))
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", d.Name, err)
	}
	r := &route{
		streams: s, stream: stream, conf: d, title: titleOf(d), first: shape, logger: s.logger.Named("shipper"),
		vacant: newLatch(), finishing: newLatch(), halting: newLatch(), attempted: newLatch(), resumed: newLatch(), done: newLatch(), gone: newLatch(),
		again: make(chan struct{}, 1), unbuilt: shipper.Report{State: shipper.Running},
	}
	if r.before = s.owners[r.key()]; r.before != nil {
		r.vacant = r.before.gone
	} else if finished := s.unfinished[r.key()]; finished != nil {
		r.vacant = finished
	} else {
		r.vacant.set()
	}
	if r.before != nil && !r.before.released {
		r.cursor = r.before.cursor
	} else if r.cursor, err = s.log.OpenCursor(stream, d.Name); err != nil {
		return nil, fmt.Errorf("destination %q: %w", d.Name, err)
	}
	if d.Bandwidth > 0 {
		r.bandwidth = shipper.NewLink(d.Bandwidth)
	}
	s.owners[r.key()] = r
	return r, nil
}

// cursorKey identifies a cursor.
type cursorKey struct{ stream, destination string }

// is reports whether the route ships to the destination d, with the same settings.
func (r *route) is(d config.Destination) bool {
	d.Pos, d.Provision = config.Pos{}, config.Provision{}
	return r.conf == d
}

func (r *route) key() cursorKey { return cursorKey{r.stream, r.conf.Name} }

// discard undoes newRoute for a route that never started. The caller holds streams.changing.
func (r *route) discard() {
	owners := r.streams.owners
	delete(owners, r.key())
	if before := r.before; before != nil && !before.gone.isSet() {
		owners[r.key()] = before
		if !before.released {
			return // the previous owner keeps the cursor, or parks it
		}
	}
	if Configures(r.streams.conf, r.stream, r.conf.Name) {
		r.cursor.Close()
	} else {
		r.cursor.Park()
	}
}

// start builds the sink and ships, after the previous owner of the cursor is gone. streams.changing is held.
func (r *route) start() {
	r.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel = cancel
		r.before = nil // else every route would keep all earlier ones in memory
		r.cursor.SetLabel(r.conf.Type)
		go r.run(ctx)
	})
}

func (r *route) run(ctx context.Context) {
	defer r.done.set()
	defer r.cancel()
	if !r.vacant.isSet() {
		r.setReport(shipper.Report{State: shipper.Waiting, LastError: "requests with the previous settings are still open, or files from before the start are not finished"})
	}
	select {
	case <-r.vacant.c:
	case <-r.halting.c:
	case <-ctx.Done():
	}
	if !r.awaitResume(ctx) {
		return
	}
	s := r.build(ctx)
	if s == nil {
		return
	}
	r.pipeline.Store(s)
	if r.halting.isSet() { // halt and finish may have run before the Store
		s.shipper.Halt(ctx)
	}
	if r.finishing.isSet() {
		s.shipper.Finish()
	}
	learned := destination.Learn(ctx, s.sink)
	if err := s.shipper.Run(ctx); errors.Is(err, shipper.ErrStuck) || err != nil && ctx.Err() == nil {
		r.logger.Error("shipping has ended", "stream", r.stream, "destination", r.conf.Name, "error", err)
	}
	r.cancel()
	<-learned
}

// awaitResume waits while an operator has paused the destination. It returns false when the route is ending.
func (r *route) awaitResume(ctx context.Context) bool {
	if r.cursor.Paused().IsZero() {
		return true
	}
	r.cursor.Rest(true)
	r.attempted.set()
	select {
	case <-r.resumed.c:
		return true
	case <-r.halting.c:
	case <-r.finishing.c:
	case <-ctx.Done():
	}
	return false
}

// retryNow ends the delays of the destination.
func (r *route) retryNow() {
	if s := r.pipeline.Load(); s != nil {
		s.shipper.Retry()
		return
	}
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// setReport sets the result of report until the sink is built.
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
