package intake

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/internal/access"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/timeline"
)

// Intake submits the requests of a listener to the WAL and awaits their outcome, in the same way for every protocol.
type Intake struct {
	Options
	watch *watch
}

// Options are the parts that an intake works with. It does not change them.
type Options struct {
	Listener string // its type, for metrics
	Log      Log
	Streams  Streams
	Observer Observer
	Clock    func() timeline.Stamp
	Draining <-chan struct{} // closed when new requests are rejected
	Hurry    context.Context // ends the waits for deliveries (ack level delivered)
	Guard    *access.Guard   // nil: every caller may send
	Logger   hclog.Logger
	Conns    *connlimit.Set
	Relays   Relays // nil: paths of relayed requests are not checked
	MaxHeld  int64  // bytes of requests; 0: see NewBudget
}

// Relays is the interface to the record of the agents that relay events to this one.
type Relays interface {
	// Arrived records the path of a request to the stream that another agent relays. An error: the request has come in a
	// loop, or through too many agents.
	Arrived(stream, path string) error
}

// New returns an intake. Its close releases its resources.
func New(o Options) *Intake {
	in := &Intake{Options: o}
	in.watch = newWatch(in)
	go in.watch.run()
	return in
}

// Close awaits the outcome of all responses of ack level accepted. No request may be submitted any more.
func (in *Intake) Close() { in.watch.stop() }

// Request is a batch on its way from the wire to the WAL. It is reused: the WAL keeps no reference to a batch.
type Request struct {
	Batch wal.Batch
	Ack   standpipev1.Ack
	// JSON: the data is compact JSON, so its format is not checked again.
	JSON bool
	// Text: the data is the text of a JSON string.
	Text bool
	// Partial: events that break a rule are omitted, and the others are stored.
	Partial bool
	// Awaited: the submitting goroutine does nothing else until the batch is stored, so it may commit itself.
	Awaited bool
	// Path is the path of a request that another agent relays; empty: it comes from a producer.
	Path string
}

// IsDraining reports whether the listener rejects new requests.
func (in *Intake) IsDraining() bool {
	select {
	case <-in.Draining:
		return true
	default:
		return false
	}
}

// HandshakeTimeout bounds the time of a new connection before its first request.
const HandshakeTimeout = 10 * time.Second

var requests = sync.Pool{New: func() any { return new(Request) }}

// maxPooledEvents bounds the capacity in events of a pooled request.
const maxPooledEvents = 4096

// NewRequest returns an empty request.
func NewRequest() *Request { return requests.Get().(*Request) }

// Free releases r for reuse. The caller must not use it afterwards.
func (r *Request) Free() {
	if r.Reset() {
		requests.Put(r)
	}
}

// Reset empties r, and reports whether it is small enough to be used again.
func (r *Request) Reset() bool {
	events := r.Batch.Events
	if cap(events) > maxPooledEvents {
		return false
	}
	clear(events)
	*r = Request{Batch: wal.Batch{Events: events[:0]}}
	return true
}

// Submission is a request that was handed to the WAL, or a rejected one.
type Submission struct {
	Stream   string
	Events   int
	Ack      standpipev1.Ack // resolved: never ACK_UNSPECIFIED
	Ticket   Ticket
	start    time.Time
	Rejected *Rejection // set: there is no ticket

	Omitted     int            // events that break a rule of a Partial request
	OmittedText string         // the rejection of the first of them
	Sender      *access.Sender // nil: not known yet, or the listener has no guard
	bytes       int            // of data and attributes; set with Sender
}

// Submit checks r and hands it to the WAL.
func (in *Intake) Submit(ctx context.Context, r *Request) Submission {
	t := Submission{Events: len(r.Batch.Events), start: time.Now()}
	who, rules, refused := in.Rules(ctx, r.Batch.Stream)
	if refused != nil {
		t.Rejected = refused
		return t
	}
	t.Stream, t.Ack = r.Batch.Stream, resolveAck(r.Ack, rules.Ack)
	if r.Path != "" && in.Relays != nil {
		if err := in.Relays.Arrived(t.Stream, r.Path); err != nil {
			t.Rejected = &Rejection{Code: codes.FailedPrecondition, Reason: ReasonLoop, Event: NoEvent, Text: err.Error()}
			return t
		}
	}
	if r.JSON && rules.Format == FormatJSON {
		rules.Format = FormatBytes
	}
	if r.Partial {
		t.Omitted, t.OmittedText = in.omitInvalid(who, &r.Batch, &rules)
		t.Events = len(r.Batch.Events)
	}
	if t.Rejected = checkRequest(&r.Batch, r.Ack); t.Rejected != nil {
		return t
	}
	if refused := checkEvents(r.Batch.Events, &rules); refused != nil {
		if r.Text && refused.Reason == ReasonFormat {
			refused.Text += " (data is a JSON string, of which the text is what is stored)"
		}
		if r.Batch.ProducerID == "" {
			t.Rejected = refused
			return t
		}
		// A producer may repeat a batch that was stored by other rules, before a reload: the log decides.
		r.Batch.Rejection = refused
	}
	if who != nil {
		t.Sender, t.bytes = who, sizeOf(&r.Batch)
		if t.Rejected = checkRate(who, t.Events, t.bytes); t.Rejected != nil {
			return t
		}
	}
	if t.Ack == standpipev1.Ack_ACK_ACCEPTED && (r.Batch.Rejection != nil || in.Log.Full()) {
		t.Ack = standpipev1.Ack_ACK_DURABLE // a response before the commit would not be kept
	}
	r.Batch.Awaited, r.Batch.Linger = r.Awaited, rules.CommitLinger
	if t.Ack == standpipev1.Ack_ACK_ACCEPTED {
		r.Batch.Awaited, r.Batch.Linger = false, rules.AcceptedLinger
	}
	ticket, err := in.Log.Submit(ctx, &r.Batch)
	if err != nil {
		t.Rejected = RejectionOf(err)
		return t
	}
	t.Ticket = ticket
	return t
}

// Repeated returns the submission of a request of n events that are stored already. It has no ticket: its result for Conclude is the
// position of the events. They are delivered before the response if the stream's ack level says so.
func (in *Intake) Repeated(stream string, n int) Submission {
	t := Submission{Stream: stream, Events: n, Ack: standpipev1.Ack_ACK_DURABLE, start: time.Now()}
	if rules, refused := lookup(in.Streams, stream); refused == nil && rules.Ack == standpipev1.Ack_ACK_DELIVERED {
		t.Ack = rules.Ack
	}
	return t
}

// omitInvalid removes the events from b that break a rule, unless all do. It returns their number and the rejection of the
// first.
func (in *Intake) omitInvalid(who *access.Sender, b *wal.Batch, rules *StreamRules) (n int, text string) {
	for i := range b.Events {
		if r := checkEvent(&b.Events[i], rules); r != nil {
			if r.Event = i; n == 0 {
				text = r.Error()
			}
			n++
		}
	}
	if n == 0 || n == len(b.Events) {
		return 0, ""
	}
	b.Events = slices.DeleteFunc(b.Events, func(e wal.Event) bool {
		r := checkEvent(&e, rules)
		if r != nil {
			in.CountRejected(who, b.Stream, 1, r)
		}
		return r != nil
	})
	return n, text
}

func resolveAck(asked, configured standpipev1.Ack) standpipev1.Ack {
	if asked != standpipev1.Ack_ACK_UNSPECIFIED {
		return asked
	}
	if configured != standpipev1.Ack_ACK_UNSPECIFIED {
		return configured
	}
	return standpipev1.Ack_ACK_DURABLE
}

// Response is the outcome of a stored request.
type Response struct {
	FirstOffset uint64 // 0: not known yet (ack accepted)
	Count       int
	Ack         standpipev1.Ack // the level that was reached
	Duplicate   bool
}

// Await waits until t has reached its ack level. When ctx ends before the commit has begun, the batch is withdrawn.
func (in *Intake) Await(ctx context.Context, t *Submission) (Response, *Rejection) {
	if t.Rejected == nil && t.Ack != standpipev1.Ack_ACK_ACCEPTED {
		// The error is the ticket's or, of a withdrawn batch, ctx's.
		a, err := t.Ticket.Wait(ctx)
		return in.Conclude(ctx, t, a, err)
	}
	return in.Conclude(ctx, t, wal.Appended{}, nil)
}

// Conclude returns the outcome of a submission whose ticket has the result a and err, and counts it.
func (in *Intake) Conclude(ctx context.Context, t *Submission, a wal.Appended, err error) (Response, *Rejection) {
	if t.Sender == nil {
		t.Sender = in.SenderOf(ctx)
	}
	r, refused := in.outcome(ctx, t, a, err)
	if t.Rejected == nil && err == nil && t.Ack != standpipev1.Ack_ACK_ACCEPTED {
		t.stored(a)
	}
	if refused != nil {
		if refused.Reason != "" {
			in.CountRejected(t.Sender, t.Stream, t.Events, refused)
		}
		return r, refused
	}
	in.Observer.Appended(in.Listener, time.Since(t.start))
	return r, nil
}

// stored counts the stored events for their sender.
func (t *Submission) stored(a wal.Appended) {
	if t.Sender != nil && !a.Duplicate {
		t.Sender.Stored(t.Events, t.bytes)
	}
}

func (in *Intake) outcome(ctx context.Context, t *Submission, a wal.Appended, err error) (Response, *Rejection) {
	r := Response{FirstOffset: a.First, Count: t.Events, Ack: t.Ack, Duplicate: a.Duplicate}
	switch {
	case t.Rejected != nil:
		return Response{}, t.Rejected
	case err != nil:
		return Response{}, RejectionOf(err)
	case t.Ack == standpipev1.Ack_ACK_ACCEPTED:
		in.watch.add(ctx, t)
	case t.Ack == standpipev1.Ack_ACK_DELIVERED:
		return in.delivered(ctx, t, a, r)
	}
	return r, nil
}

func (in *Intake) delivered(ctx context.Context, t *Submission, a wal.Appended, r Response) (Response, *Rejection) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.Hurry, cancel)()
	all, err := in.Log.WaitSettled(ctx, t.Stream, a)
	if err != nil {
		return Response{}, undelivered(a, err)
	}
	if !all {
		r.Ack = standpipev1.Ack_ACK_DURABLE
	}
	return r, nil
}

// undelivered returns the rejection of a request that is stored, but not known to be delivered.
func undelivered(a wal.Appended, err error) *Rejection {
	r := RejectionOf(err)
	cause := "the agent is shutting down"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		cause = "the deadline passed"
	case errors.Is(err, wal.ErrFailed):
		cause = r.Text
	}
	text := "the events are stored and synced from offset %d on, but not known to be delivered: %s"
	u := Unavailable(text, a.First, cause)
	if errors.Is(err, context.DeadlineExceeded) {
		u.Code = r.Code
	}
	u.Reason = "" // nothing was refused
	return u
}
