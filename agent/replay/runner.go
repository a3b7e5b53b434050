package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/agent/internal/seek"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

const (
	// mostRunning bounds the replays that run at once, of all destinations.
	mostRunning = 4
	// mostKept bounds the results in memory.
	mostKept = 100
	// maxKeys bounds the keys of a request.
	maxKeys = 1000
	// stopGrace bounds the wait of Stop.
	stopGrace = cancelGrace + time.Second
)

var (
	errLeft     = errors.New("the destination was paused, changed or removed")
	errStopping = errors.New("the agent stops; replays are not resumed")
)

// Target is a destination that ships.
type Target struct {
	Conf      config.Destination
	Bandwidth *shipper.Link                                   // the destination's own; nil: none
	Live      func() shipper.Report                           // the state of live delivery
	Left      <-chan struct{}                                 // closed when the destination is paused, changed or removed
	Stopping  <-chan struct{}                                 // closed when the agent stops
	Branches  []wal.Branch                                    // of the stream
	Open      func(ctx context.Context) (shipper.Sink, error) // nil: as destination.Open does
}

// Options are the parts of a Runner.
type Options struct {
	Log     shipper.Source                                   // with the retained segments: a wal.History
	Find    func(stream, destination string) (Target, error) // its errors are those of admin.Replays
	Link    *shipper.Link
	Outages *shipper.Outages
	Logger  hclog.Logger
}

// Runner runs replays. It implements admin.Replays.
type Runner struct {
	o Options

	mu      sync.Mutex
	stopped bool           // guarded by mu
	jobs    map[place]*job // the latest of each destination; guarded by mu
}

type place struct{ stream, destination string }

// New returns a Runner.
func New(o Options) *Runner { return &Runner{o: o, jobs: make(map[place]*job)} }

// Start begins a replay.
func (r *Runner) Start(ctx context.Context, stream, name string, request admin.ReplayRequest) (admin.Replay, error) {
	target, err := r.o.Find(stream, name)
	if err != nil {
		return admin.Replay{}, err
	}
	if reason := destination.NoReplay(target.Conf); reason != "" {
		return admin.Replay{}, fmt.Errorf("%w: destination %q of type %s takes no replay: %s", admin.ErrRange, name, target.Conf.Type, reason)
	}
	from, to, err := r.resolve(stream, &request)
	if err != nil {
		return admin.Replay{}, fmt.Errorf("%w: %w", admin.ErrRange, err)
	}
	sink, err := open(ctx, stream, &target, r.o.Logger)
	if err != nil {
		return admin.Replay{}, fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	}
	if err := ctx.Err(); err != nil { // the caller could not cancel the replay
		sink.Close()
		return admin.Replay{}, fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	}
	j, err := r.begin(place{stream, name}, &target, sink, from, to, request)
	if err != nil {
		sink.Close()
		return admin.Replay{}, err
	}
	return j.report(), nil
}

func open(ctx context.Context, stream string, t *Target, logger hclog.Logger) (shipper.Sink, error) {
	if t.Open != nil {
		return t.Open(ctx)
	}
	opened, err := destination.Open(ctx, destination.Spec{
		Destination: t.Conf, EventStream: stream, Around: destination.Envelope(t.Branches, stream, t.Conf), Branches: t.Branches,
		Cursor: new(wal.Cursor), Logger: logger,
	})
	return opened.Batches, err
}

// resolve returns the offsets of a range. Its first event is in the log.
func (r *Runner) resolve(stream string, q *admin.ReplayRequest) (from, to uint64, err error) {
	begins := 0
	for _, set := range []bool{q.FromOffset > 0, !q.FromTime.IsZero(), q.FromOldest} {
		if set {
			begins++
		}
	}
	next := r.o.Log.Next(stream)
	switch {
	case begins != 1:
		return 0, 0, fmt.Errorf("%d of from_offset, from_time and from_oldest are set, want one", begins)
	case q.ToOffset > 0 && !q.ToTime.IsZero():
		return 0, 0, errors.New("to_offset and to_time are set, want at most one")
	case len(q.Keys) > maxKeys:
		return 0, 0, fmt.Errorf("%d keys, at most %d are allowed", len(q.Keys), maxKeys)
	case q.ToOffset > next || q.FromOffset > next:
		return 0, 0, fmt.Errorf("offset %d is beyond the end of the stream, whose next event gets offset %d", max(q.FromOffset, q.ToOffset), next)
	}
	to = next
	if q.ToOffset > 0 {
		to = q.ToOffset
	} else if !q.ToTime.IsZero() {
		to = seek.FirstSince(r.o.Log, stream, q.ToTime.UnixNano(), next)
	}
	first, err := r.firstFrom(stream, 1)
	if err != nil {
		return 0, 0, err
	}
	switch {
	case q.FromOffset > 0:
		from = q.FromOffset
	case !q.FromTime.IsZero():
		from = seek.FirstSince(r.o.Log, stream, q.FromTime.UnixNano(), next)
		if from <= first.Offset && first.Offset > 1 { // the events before the first one may be of that time too
			return 0, 0, fmt.Errorf("events from %s on may be gone: the log begins at offset %d of %s; replay from there",
				format(q.FromTime), first.Offset, format(time.Unix(0, first.Time)))
		}
	default:
		from = first.Offset
	}
	if from >= to {
		return 0, 0, fmt.Errorf("it is empty: from offset %d to before offset %d", from, to)
	}
	if first, err = r.firstFrom(stream, from); err != nil {
		return 0, 0, err
	}
	if first.Offset > from {
		return 0, 0, fmt.Errorf("events from offset %d up to %d are gone from the log; it can be read from offset %d of %s on",
			from, first.Offset-1, first.Offset, format(time.Unix(0, first.Time)))
	}
	return from, to, nil
}

// firstFrom returns the first event in the log from an offset on.
func (r *Runner) firstFrom(stream string, offset uint64) (wal.Event, error) {
	chunk, err := r.o.Log.Read(stream, offset, wal.AllLanes, 1)
	if err != nil {
		return wal.Event{}, fmt.Errorf("read offset %d: %w", offset, err)
	}
	if len(chunk.Events) == 0 {
		return wal.Event{}, fmt.Errorf("the log has no event of the stream from offset %d on; its next event gets offset %d", offset, r.o.Log.Next(stream))
	}
	return chunk.Events[0], nil
}

func format(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// begin starts the replay of a resolved range.
func (r *Runner) begin(at place, t *Target, sink shipper.Sink, from, to uint64, q admin.ReplayRequest) (*job, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := 0
	for _, j := range r.jobs {
		if j.running() {
			running++
		}
	}
	switch j := r.jobs[at]; {
	case r.stopped:
		return nil, fmt.Errorf("%w: %w", admin.ErrUnavailable, errStopping)
	case j != nil && j.running():
		return nil, fmt.Errorf("%w: a replay of stream %q to destination %q runs already; cancel it first", admin.ErrConflict, at.stream, at.destination)
	case running >= mostRunning:
		return nil, fmt.Errorf("%w: %d replays run, and no more are allowed", admin.ErrConflict, running)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := newCursor(at.stream, at.destination, from, to)
	j := &job{
		request: q, from: from, cursor: c, sink: sink, cancel: cancel, ended: make(chan struct{}),
		started: time.Now(), state: admin.ReplayRunning,
	}
	j.source = &source{Source: r.o.Log, to: to, keys: setOf(q.Keys), yields: func() bool { return busy(t.Live()) }, ended: j.allRead, done: ctx}
	j.source.end.Store(to)
	j.shipper = r.newShipper(j, t)
	r.keepLocked(at, j)
	go func() {
		r.o.Logger.Info("replay started", "stream", at.stream, "destination", at.destination, "from", from, "to", to)
		j.run(ctx, []<-chan struct{}{t.Left, t.Stopping}, []error{errLeft, errStopping})
		end := j.report()
		r.o.Logger.Info("replay ended", "stream", at.stream, "destination", at.destination, "state", end.State, "events", end.Events,
			"bytes", end.Bytes, "rejected", end.Rejected, "offset", end.Offset, "error", end.Error)
	}()
	return j, nil
}

func (r *Runner) newShipper(j *job, t *Target) *shipper.Shipper {
	o := shipper.Options{
		Source: j.source, Cursor: j.cursor, Sink: slowSink{j.sink}, Dead: j.cursor,
		MaxDelay: t.Conf.Batch.MaxDelay, Retry: shipper.Retry{Initial: t.Conf.Retry.Initial, Max: t.Conf.Retry.Max, Timeout: t.Conf.Retry.Timeout},
		Unpaced: !t.Conf.Pace, Memory: memory, InFlight: 1,
		Bandwidth: t.Bandwidth, Priority: shipper.PriorityLow,
		Outages: r.o.Outages, Logger: r.o.Logger,
	}
	if typ, err := destination.Of(t.Conf); err == nil {
		o.Endpoint = typ.Endpoint(t.Conf)
		if typ.UsesLink {
			o.Link = r.o.Link
		}
	}
	return shipper.New(o)
}

// busy reports whether live delivery has the right of way: it waits for something that a replay takes too.
func busy(live shipper.Report) bool {
	return live.State != shipper.Running || live.Waits != shipper.WaitNothing
}

func setOf(keys []string) map[string]bool {
	if len(keys) == 0 {
		return nil
	}
	set := make(map[string]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}

// keepLocked keeps a new job, and removes the oldest result if there are too many. mu is held.
func (r *Runner) keepLocked(at place, j *job) {
	r.jobs[at] = j
	if len(r.jobs) <= mostKept {
		return
	}
	var oldest place
	for p, other := range r.jobs {
		if !other.running() && (r.jobs[oldest] == nil || other.started.Before(r.jobs[oldest].started)) {
			oldest = p
		}
	}
	delete(r.jobs, oldest)
}

// Get returns the latest replay of a destination.
func (r *Runner) Get(stream, name string) (admin.Replay, error) {
	j, err := r.find(stream, name)
	if err != nil {
		return admin.Replay{}, err
	}
	return j.report(), nil
}

// Cancel ends the replay of a destination. The request under way may end first.
func (r *Runner) Cancel(stream, name string) (admin.Replay, error) {
	j, err := r.find(stream, name)
	if err != nil {
		return admin.Replay{}, err
	}
	j.cancel(errCancelled)
	<-j.ended
	return j.report(), nil
}

func (r *Runner) find(stream, name string) (*job, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.jobs[place{stream, name}]
	if j == nil {
		return nil, fmt.Errorf("%w of stream %q to destination %q since the start of the agent", admin.ErrNoReplay, stream, name)
	}
	return j, nil
}

// Stop cancels all replays, and waits a few seconds for their ends. No replay starts after it.
func (r *Runner) Stop() {
	r.mu.Lock()
	r.stopped = true
	var jobs []*job
	for _, j := range r.jobs {
		j.cancel(errStopping)
		jobs = append(jobs, j)
	}
	r.mu.Unlock()
	limit := time.After(stopGrace)
	for _, j := range jobs {
		select {
		case <-j.ended:
		case <-limit:
			return
		}
	}
}
