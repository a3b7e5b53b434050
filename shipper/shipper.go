package shipper

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/catchup"
	"github.com/standpipe/standpipe/shipper/internal/outage"
	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/internal/sizing"
	"github.com/standpipe/standpipe/wal"
)

// Defaults of Options.
const (
	DefaultMaxDelay = time.Second
	DefaultInFlight = 4
	DefaultMemory   = 16 << 20
)

// Options are the parts of a shipper and its limits. The zero value of a field means its default.
type Options struct {
	Source Source
	Cursor Cursor // the destination's position in its stream
	Sink   Sink
	Dead   DeadLetterQueue // gets the events that the destination rejects for good

	MaxDelay time.Duration // the longest time that an event waits to be batched; default 1 s
	Retry    Retry
	CatchUp  CatchUp // after an outage; default: the oldest events go first
	Unpaced  bool    // quotas are ignored, and throttling only delays

	Link      *Link    // shared with other shippers; nil: none
	Priority  Priority // on Link
	Bandwidth *Link    // the destination's own cap beside that of Link, shared with its other shippers; nil: no cap

	InFlight int // requests at once; default Shape.InFlight, else 4; 1 where order is the whole stream's
	Memory   int // bytes of all events in memory, those of requests under way included; default 16 MiB

	// Endpoint is the name of the service that gets the requests. Destinations with one endpoint share its outages.
	// Default: the destination's own name.
	Endpoint string
	Outages  *Outages     // shared with other shippers; default: its own
	Observer Observer     // default: none
	Logger   hclog.Logger // default: none
}

func (o *Options) defaults(shape Shape) {
	if o.MaxDelay <= 0 {
		o.MaxDelay = DefaultMaxDelay
	}
	if o.InFlight <= 0 {
		o.InFlight = cmp.Or(shape.InFlight, DefaultInFlight)
	}
	if shape.WholeOrder {
		o.InFlight = 1
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	o.Retry.SetDefaults()
}

// Shipper ships one stream to one destination. Run's goroutine owns all of its state, except the report. The feed has a
// goroutine that reads the log, and each request has one.
type Shipper struct {
	opts   Options
	stream string

	lanes   *lanes
	feed    *feed
	batcher *batcher
	turns   catchup.Turns
	floor   wal.Floor // events below are dropped

	outcomes  chan outcome
	requests  []*request
	window    int // the number of requests at once: 1 after failures, then doubled
	bandwidth bandwidth
	back      time.Time         // when another shipper last reported that the link is back
	failures  *backoff.Failures // of requests as a whole
	calm      time.Time         // when the last failures of requests ended
	member    *outage.Member
	warnings  outage.Warnings
	sent      uint64        // bytes of the bodies of all requests
	samples   []pace.Sample // of settle; kept for its memory
	newest    struct {      // the delivered event with the highest offset
		offset uint64
		time   int64 // its Time
	}

	finish     chan struct{} // closed by Finish
	finishOnce sync.Once
	finishing  bool
	halt       chan context.Context // Halt's; holds one
	halting    bool
	retry      chan struct{} // Retry's; holds one
	ended      chan struct{} // closed when Run has returned and so have all requests

	mu       sync.Mutex // guards progress and report
	progress time.Time
	report   Report
}

// New makes a shipper. Nothing is read or sent before Run.
func New(o Options) *Shipper {
	shape := o.Sink.Shape()
	o.defaults(shape)
	if o.Endpoint == "" {
		o.Endpoint = o.Cursor.Stream() + "/" + o.Cursor.Name()
	}
	if o.Outages == nil {
		o.Outages = NewOutages(o.Source, o.Logger)
	}
	s := &Shipper{
		opts: o, stream: o.Cursor.Stream(),
		outcomes:  make(chan outcome, o.InFlight),
		bandwidth: newBandwidth(),
		warnings:  outage.NewWarnings(o.Logger, o.Cursor.Stream(), o.Cursor.Name()),
		member:    &outage.Member{Endpoint: o.Endpoint, Stream: o.Cursor.Stream(), Destination: o.Cursor.Name(), Pending: func() uint64 { return o.Cursor.Stat().Pending.Events }},
		finish:    make(chan struct{}),
		halt:      make(chan context.Context, 1),
		retry:     make(chan struct{}, 1),
		ended:     make(chan struct{}),
		progress:  time.Now(),
		report:    Report{State: Running},
	}
	s.lanes = newLanes(o.Cursor.Lanes(), shape.WholeOrder, o.Memory, func() uint64 { return o.Source.Next(s.stream) })
	s.feed = newFeed(o.Source, s.stream, s.lanes, o.MaxDelay)
	s.window = o.InFlight
	s.turns.Mode = o.CatchUp
	s.batcher = &batcher{sink: o.Sink, lanes: s.lanes, maxDelay: o.MaxDelay, bandwidth: &s.bandwidth, sizer: sizing.New(o.Link != nil)}
	if !o.Unpaced {
		s.batcher.pacer = pace.NewPacer(shape.Quota, shape.KeyCounts, len(s.lanes.all), s.progress)
	}
	if k, ok := o.Sink.(Keeper); ok {
		o.Cursor.Keep(k.Committed)
		s.record(wal.Settlement{State: k.State()})
	}
	return s
}

// Finish makes Run return once all events of the stream in the log are settled. Until then, events do not wait to be
// batched. Appends should have ended.
func (s *Shipper) Finish() { s.finishOnce.Do(func() { close(s.finish) }) }

// Halt makes Run send nothing more, and return once the requests under way have ended. When ctx ends before that,
// they are cut off. Waiting events stay in the log. Halt returns at once; only its first call counts.
func (s *Shipper) Halt(ctx context.Context) {
	select {
	case s.halt <- ctx:
	default:
	}
}

// Retry ends all delays that follow failures. It returns at once.
func (s *Shipper) Retry() {
	select {
	case s.retry <- struct{}{}:
	default:
	}
}

// notice handles a notification of the link.
func (s *Shipper) notice(now time.Time) {
	if s.bandwidth.takeBack() {
		s.back = now
		s.failures.CutShort(&s.opts.Retry, now)
	}
	if s.bandwidth.path.TakeAccepted() {
		s.failures.Hasten(&s.opts.Retry, now)
	}
	if up, news := s.bandwidth.takeNews(); news && up {
		s.retryNow(now)
	}
}

// retryNow ends the delays of the destination and of its lanes.
func (s *Shipper) retryNow(now time.Time) {
	s.bandwidth.path.Hasten()
	s.failures.RetryNow(now)
	for _, l := range s.lanes.all {
		l.failures.RetryNow(now)
	}
}

// Ended returns a channel that is closed when Run and all requests have returned: then another owner may use the
// Sink and the Cursor.
func (s *Shipper) Ended() <-chan struct{} { return s.ended }

// Run ships until ctx ends, or Halt, or after Finish until nothing is pending. When ctx ends, requests under
// way are cut off: their outcome is unknown, and their events are sent again by the next Run. Requests that do not
// return within half a second are left behind, and the error is an ErrStuck.
// Run is called once. Its error is ctx's or the log's.
func (s *Shipper) Run(ctx context.Context) error {
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.feed.run()
	}()
	s.bandwidth.join(&s.opts)
	err := s.ship(ctx)
	s.feed.stopped.Store(true)
	close(s.feed.wants)
	<-reader
	stuck := s.drain()
	s.bandwidth.leave()
	s.publish()
	s.updateReport()
	s.warnings.Flush()
	s.opts.Outages.Leave(s.member)
	return errors.Join(err, s.release(stuck))
}

func (s *Shipper) ship(ctx context.Context) error {
	finish := s.finish
	var cut <-chan struct{} // closed when a halt may wait no longer
	timer := time.NewTimer(0)
	defer timer.Stop()
	for more := false; ; {
		now := time.Now()          // of a whole turn: a pause that grown saw must not end before act looks at the log
		grown := s.feed.grown(now) // before the look at the log and the floor, so that none of their changes is missed
		if !more || s.opts.Cursor.Floor() != s.floor || !s.feed.goesOn(now, s.batcher.enough()) {
			timer.Reset(s.act(ctx, now))
			if s.finishing && s.idle() || s.halting && len(s.requests) == 0 {
				return nil
			}
		}
		more, s.feed.heard = false, grown != nil
		select {
		case <-grown:
			more = true
		case r := <-s.feed.reads:
			s.took(r)
		case o := <-s.outcomes:
			s.settle(o)
		case <-timer.C:
		case <-s.bandwidth.notify:
			s.notice(time.Now())
		case <-s.retry:
			s.retryNow(time.Now())
		case <-finish:
			s.finishing, finish, s.feed.readAt = true, nil, time.Time{}
		case halt := <-s.halt:
			if !s.halting {
				s.halting, cut = true, halt.Done()
			}
		case <-cut:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// act does everything that is due at now. It returns the time until it has to be called again.
func (s *Shipper) act(ctx context.Context, now time.Time) time.Duration {
	s.raiseFloor()
	s.lanes.regroup()
	s.splitAfterOutage()
	wake := s.cutOffHolders(now)
	wake = min(wake, s.feed.next(now, s.demand()))
	if s.feed.growth.TakeFresh() {
		s.moving(now)
	}
	wake = min(wake, s.dispatch(ctx, now))
	wake = min(wake, s.warnings.Write(now))
	s.publish()
	if took, long := s.turns.Through(s.opts.Cursor, now); long {
		s.opts.Logger.Info("the destination has caught up", "stream", s.stream, "destination", s.opts.Cursor.Name(), "after", took.Round(time.Millisecond))
	}
	s.updateReport()
	return wake
}

// demand returns the state that the feed and the batcher depend on.
func (s *Shipper) demand() demand {
	return demand{
		finishing: s.finishing, retrying: s.failures != nil, down: s.failures != nil && s.failures.Count > 1,
		floor: s.floor.Offset(), enough: s.batcher.enough(),
	}
}

// took puts the events of a read into the lanes, and settles those that are dropped.
func (s *Shipper) took(r read) {
	if r.searched {
		s.feed.reading, s.turns.Searching = false, false
		s.lanes.splitAtNewest(r.until, r.newest, s.floor.Offset(), time.Now())
		return
	}
	var corrupt *wal.CorruptError
	if errors.As(r.err, &corrupt) && s.lanes.rejoin() {
		s.feed.lose(&r, corrupt, s.opts.Cursor)
		return
	}
	if r.lost {
		s.lanes.start = s.opts.Cursor.Lanes()
	}
	dropped, err := s.feed.took(r, s.floor, s.finishing)
	if err == nil {
		s.moving(time.Now())
		s.countDropped(dropped)
	} else if !stopped(err) {
		s.opts.Logger.Error("the log can't be read", "stream", s.stream, "destination", s.opts.Cursor.Name(), "error", err)
	}
}

// idle reports whether nothing is left to ship.
func (s *Shipper) idle() bool {
	return len(s.requests) == 0 && !s.feed.reading && s.lanes.idle()
}

// stopped reports whether err means that the log or the shipper was stopped.
func stopped(err error) bool {
	return errors.Is(err, wal.ErrClosed) || errors.Is(err, context.Canceled)
}
