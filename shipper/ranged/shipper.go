package ranged

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/catchup"
	"github.com/standpipe/standpipe/shipper/internal/outage"
	"github.com/standpipe/standpipe/wal"
)

// Defaults of Options.
const (
	DefaultMaxDelay  = time.Second
	DefaultReadBytes = 1 << 20
)

// Options are the parts of a Shipper and its limits. The zero value of a field means its default.
type Options struct {
	Source Log
	Cursor Cursor // the destination's position in its stream
	Sink   Sink
	Dead   shipper.DeadLetterQueue // gets the events that the destination rejects for good

	// MaxDelay is the longest time that an event waits to be batched; default 1 s. Once the end of the log is met, the next
	// read waits a twentieth of it, at most 50 ms. Sink.Due defines how long a range stays open.
	MaxDelay time.Duration
	Retry    shipper.Retry

	// ReadBytes is the memory of one chunk of events; default 1 MiB. There are at most two chunks at a time, in addition to
	// the memory of the sink.
	ReadBytes int

	Link      *shipper.Link    // shared with other shippers; nil: none
	Priority  shipper.Priority // on Link
	Bandwidth int64            // bytes a second of the requests, beside Link's cap; 0: no cap

	// Endpoint is the name of the service that gets the requests. Destinations with one endpoint share its outages.
	// Default: the destination's own name.
	Endpoint string
	Outages  *shipper.Outages // shared with other shippers; default: its own
	Observer shipper.Observer // default: none
	Logger   hclog.Logger     // default: none
}

// Log is the log that a Shipper reads; a *wal.Log is one.
type Log interface {
	shipper.Source

	// Sync returns nil once all settlements before the call are on the disk.
	Sync(ctx context.Context) error
}

// Cursor is a destination's position in its stream; a *wal.Cursor is one. A Shipper is its only owner from New until Ended
// is closed.
type Cursor interface {
	shipper.Cursor

	// State returns the State of the last settlement that had one, in this run or an earlier one.
	State() []byte
}

func (o *Options) setDefaults() {
	if o.MaxDelay <= 0 {
		o.MaxDelay = DefaultMaxDelay
	}
	if o.ReadBytes <= 0 {
		o.ReadBytes = DefaultReadBytes
	}
	if o.Endpoint == "" {
		o.Endpoint = o.Cursor.Stream() + "/" + o.Cursor.Name()
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Outages == nil {
		o.Outages = shipper.NewOutages(o.Source, o.Logger)
	}
	o.Retry.SetDefaults()
}

type noObserver struct{}

func (noObserver) Request(string, time.Duration) {}
func (noObserver) Retried(string, int)           {}

// Shipper ships one stream to one Sink. Run's goroutine owns all of its state, except the report. The feed has a goroutine
// that reads the log, and each call of the sink has one.
type Shipper struct {
	opts   Options
	stream string
	feed   *feed

	// Every event below checkpoint is settled. Events below next and at or beyond checkpoint are settled, in the range under
	// way, or in queue.
	position
	next      uint64
	queue     queue       // read, unsettled and in no range; at most two chunks
	span      span        // the range under way
	newest    int64       // the time of the last delivered event
	sent      uint64      // bytes of the delivered ranges
	recovered bool        // Recover has succeeded, and no restart has followed
	rejected  []Rejection // of the error that requires a restart

	floor    wal.Floor // events below are dropped
	passedAt time.Time // when the floor passed an event of the range, or of a Recover under way; zero: it has not
	wasCut   bool      // the last call was cut off because its events are to be dropped
	dropped  bool      // they were dropped before it returned

	bandwidth bandwidth
	inLine    bool // the next events wait for bandwidth

	failures *backoff.Failures
	turns    catchup.Turns // of the oldest events first: whether the backlog of an outage is settled
	failedAt step          // the last step of a range that has failed since
	gained   bool          // the range has gained events since the last failure
	unstored bool          // drops or dead letters may not be on the disk
	unsynced string        // why the state of a sealed range is not on the disk
	member   *outage.Member
	warnings outage.Warnings

	finish     chan struct{} // closed by Finish
	finishOnce sync.Once
	finished   <-chan struct{} // finish, until Run has seen it
	finishing  bool
	halt       chan context.Context // Halt's; holds one
	halting    bool
	retry      chan struct{}   // Retry's; holds one
	cut        <-chan struct{} // closed when a halt may wait no longer
	stop       error           // Run must end now
	stuck      <-chan struct{} // closed when the call that did not return has returned; nil: there is none
	ended      chan struct{}   // closed when Run has returned and so has the last call

	reporter reporter
}

// part is the rest of a chunk.
type part struct {
	events []wal.Event
	held   int // bytes of memory of the chunk
}

type queue []part

// memory returns the memory of the queue in bytes.
func (q queue) memory() (bytes int) {
	for i := range q {
		bytes += q[i].held
	}
	return bytes
}

// heldWith returns the events of the queue and of the range under way, as the log counts them when others are lost. next is
// the offset after the last one.
func (q queue) heldWith(ofRange wal.Count, next uint64) *wal.Held {
	held := &wal.Held{Count: ofRange}
	for i := range held.Next {
		held.Next[i] = next
	}
	for i := range q {
		for j := range q[i].events {
			held.Count.Add(countOf(&q[i].events[j]))
		}
	}
	return held
}

// span is the range under way.
type span struct {
	begun  bool // Add was called for it
	full   bool
	sealed bool
	lossy  bool      // some of its events may count as lost, so that it cannot be settled as a whole
	first  uint64    // its first event, if it has one
	since  time.Time // when that was added
	next   uint64    // the offset after its last event
	count  wal.Count // its unsettled events
	newest int64     // the time of the last one
}

func (r *span) empty() bool { return r.count.Events == 0 }

func (r *span) add(events []wal.Event) {
	for i := range events {
		if r.empty() {
			r.first, r.since = events[i].Offset, time.Now()
		}
		r.count.Add(wal.Count{Events: 1, Bytes: uint64(len(events[i].Data))})
		r.next, r.newest = events[i].Offset+1, events[i].Time
	}
}

// New makes a Shipper. Nothing is read or sent before Run.
func New(o Options) *Shipper {
	o.setDefaults()
	stream, name := o.Cursor.Stream(), o.Cursor.Name()
	s := &Shipper{
		opts: o, stream: stream,
		feed:      newFeed(o.Source, stream, o.ReadBytes, o.MaxDelay),
		bandwidth: newBandwidth(),
		position:  newPosition(o.Cursor.Lanes()),
		member: &outage.Member{Endpoint: o.Endpoint, Stream: stream, Destination: name,
			Pending: func() uint64 { return o.Cursor.Stat().Pending.Events }},
		warnings: outage.NewWarnings(o.Logger, stream, name),
		unstored: true, // of an earlier owner
		finish:   make(chan struct{}),
		halt:     make(chan context.Context, 1),
		retry:    make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	s.reporter.progress, s.reporter.report = time.Now(), shipper.Report{State: shipper.Running}
	s.finished = s.finish
	s.next = s.checkpoint
	return s
}

// Finish makes Run return once all events of the stream in the log are settled. From then on, a range that has the last
// event of the log is sealed at once. Appends should have ended.
func (s *Shipper) Finish() { s.finishOnce.Do(func() { close(s.finish) }) }

// Halt makes Run return once the call of the sink under way has ended. A range that is sealed is committed, if its first
// Commit has not failed; a range that is not sealed is aborted. When ctx ends before that, the call is cut off. Events that
// are not settled stay in the log. Halt returns at once; only its first call counts.
func (s *Shipper) Halt(ctx context.Context) {
	select {
	case s.halt <- ctx:
	default:
	}
}

// Retry ends the delay that follows failures. It returns at once.
func (s *Shipper) Retry() {
	select {
	case s.retry <- struct{}{}:
	default:
	}
}

// Ended returns a channel that is closed when Run and the last call of the sink have returned: then another owner may use
// the Sink and the Cursor.
func (s *Shipper) Ended() <-chan struct{} { return s.ended }

// Reasons why ship ends, beside errors of a context.
var (
	errDone   = errors.New("all events are settled")
	errHalted = errors.New("halted")
	errCut    = errors.New("cut off")
	// errRestart: the range under way cannot be continued.
	errRestart = errors.New("the range is discarded")
)

// Run ships until ctx ends, or Halt, or after Finish until nothing is pending. When ctx ends, the call of the sink under way
// is cut off, and its range is recovered by the next Run. A call that does not return within half a second is left behind,
// and the error is a shipper.ErrStuck. Run is called once. Its error is ctx's.
func (s *Shipper) Run(ctx context.Context) error {
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.feed.run()
	}()
	s.bandwidth.join(&s.opts)
	err := s.ship(ctx)
	s.abortUnsealed(ctx)
	close(s.feed.wants)
	<-reader
	s.bandwidth.leave()
	s.updateReport()
	s.warnings.Flush()
	s.opts.Outages.Leave(s.member)
	return errors.Join(err, s.release())
}

// ship ships one range after another.
func (s *Shipper) ship(ctx context.Context) error {
	for {
		err := s.fill(ctx)
		if err == nil {
			err = s.deliver(ctx)
		}
		if err == errRestart { //nolint:errorlint // the functions return it as it is
			err = s.restart(ctx)
		}
		switch err { //nolint:errorlint
		case nil:
		case errDone, errHalted, errCut:
			return nil
		default:
			return err
		}
	}
}

// abortUnsealed aborts the range under way when Run ends. A sealed range stays: the next Recover finds out whether it was
// delivered.
func (s *Shipper) abortUnsealed(ctx context.Context) {
	if s.stuck != nil || !s.span.begun || s.span.sealed {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Retry.Timeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.opts.Sink.Abort(limited)
	}()
	select {
	case <-done:
		return
	case <-s.cut:
	case <-ctx.Done():
	}
	s.leave(done, cancel)
}

// leave gives a call a moment to return, and then leaves it behind.
func (s *Shipper) leave(done <-chan struct{}, cancel context.CancelFunc) (returned bool) {
	cancel()
	grace := time.NewTimer(cutGrace)
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
		s.stuck = done
		return false
	}
}

// release closes ended once the call that was left behind has returned. Its outcome is ignored: its events are pending.
func (s *Shipper) release() error {
	if s.stuck == nil {
		close(s.ended)
		return nil
	}
	s.opts.Logger.Error("requests do not return after they were cut off; the destination stays in use until they have",
		"stream", s.stream, "destination", s.opts.Cursor.Name(), "requests", 1)
	go func() {
		<-s.stuck
		close(s.ended)
	}()
	return fmt.Errorf("%w: 1", shipper.ErrStuck)
}

// record settles a step in the log. An error of the log means that the shipper has counted wrong.
func (s *Shipper) record(step wal.Settlement) {
	s.unstored = s.unstored || step.Add.Lost().Events > 0
	if err := s.opts.Cursor.Settle(step); err != nil {
		s.warnings.Fault(err)
	}
	s.reporter.moving()
}
