package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
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
