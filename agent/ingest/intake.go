package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/access"
	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// intake submits the requests of a listener to the WAL and awaits their outcome, in the same way for every protocol.
type intake struct {
	intakeOptions
	watch *watch
}

// intakeOptions are the parts that an intake works with. It does not change them.
type intakeOptions struct {
	listener string // its type, for metrics
	log      Log
	streams  Streams
	observer Observer
	clock    func() time.Time
	draining <-chan struct{} // closed when no new request is taken
	hurry    context.Context // ends when deliveries are waited for no longer
	guard    *access.Guard   // nil: anybody may send
	logger   hclog.Logger
	conns    *connlimit.Set
}

// newIntake returns an intake. Its close releases its resources.
func newIntake(o intakeOptions) *intake {
	in := &intake{intakeOptions: o}
	in.watch = newWatch(in)
	go in.watch.run()
	return in
}

// close awaits the outcome of all responses of ack level accepted. No request may be submitted any more.
func (in *intake) close() { in.watch.stop() }

// request is a batch on its way from the wire to the log. It is reused: the log keeps no
// reference to a batch.
type request struct {
	batch wal.Batch
	ack   standpipev1.Ack
	// json: the data is known to be compact JSON, so its format need not be looked at again.
	json bool
	// text: the data is the text of a JSON string.
	text bool
	// sift: events that break a rule are left out, and the others stored.
	sift bool
	// awaited: whoever takes it does nothing else until it is stored.
	awaited bool
}

// isDraining reports whether the listener takes no new request.
func (in *intake) isDraining() bool {
	select {
	case <-in.draining:
		return true
	default:
		return false
	}
}

// handshakeTime bounds the time of a new connection before its first request.
const handshakeTime = 10 * time.Second

var requests = sync.Pool{New: func() any { return new(request) }}

// maxPooledEvents bounds the events that a pooled request has room for.
const maxPooledEvents = 4096

// newRequest returns an empty request.
func newRequest() *request { return requests.Get().(*request) }

// free releases r for reuse. The caller must not use it afterwards.
func (r *request) free() {
	if r.reset() {
		requests.Put(r)
	}
}

// reset empties r, and reports whether it is small enough to be used again.
func (r *request) reset() bool {
	events := r.batch.Events
	if cap(events) > maxPooledEvents {
		return false
	}
	clear(events)
	*r = request{batch: wal.Batch{Events: events[:0]}}
	return true
}

// taken is a request that the log has taken, or one that was refused before that.
type taken struct {
	stream string
	events int
	ack    standpipev1.Ack // resolved: never ACK_UNSPECIFIED
	ticket Ticket
	start  time.Time
	err    *refusal // set: refused, and there is no ticket

	left     int            // events that were left out
	leftText string         // why the first of them was left out
	who      *access.Sender // nil: anybody may send, or conclude has to look
	bytes    int            // of data and attributes; set together with who
}

// take checks r and submits it. The result always says how the request goes on.
func (in *intake) take(ctx context.Context, r *request) taken {
	t := taken{events: len(r.batch.Events), start: time.Now()}
	who, rules, refused := in.rules(ctx, r.batch.Stream)
	if refused != nil {
		t.err = refused
		return t
	}
	t.stream, t.ack = r.batch.Stream, resolveAck(r.ack, rules.Ack)
	if r.json && rules.Format == FormatJSON {
		rules.Format = FormatBytes
	}
	if r.sift {
		t.left, t.leftText = in.sift(who, &r.batch, &rules)
		t.events = len(r.batch.Events)
	}
	if t.err = check(&r.batch, r.ack, &rules); t.err != nil {
		if r.text && t.err.reason == ReasonFormat {
			t.err.text += " (data is a JSON string, of which the text is what is stored)"
		}
		return t
	}
	if who != nil {
		t.who, t.bytes = who, sizeOf(&r.batch)
		if t.err = pace(who, t.events, t.bytes); t.err != nil {
			return t
		}
	}
	if t.ack == standpipev1.Ack_ACK_ACCEPTED && in.log.Full() {
		t.ack = standpipev1.Ack_ACK_DURABLE // an answer before there is room would be a promise that is not kept
	}
	r.batch.Awaited = r.awaited && t.ack != standpipev1.Ack_ACK_ACCEPTED
	ticket, err := in.log.Submit(ctx, &r.batch)
	if err != nil {
		t.err = refusalOf(err)
		return t
	}
	t.ticket = ticket
	return t
}

// sift leaves the events out of b that break a rule, unless all do, and returns how many they were and what is wrong
// with the first.
func (in *intake) sift(who *access.Sender, b *wal.Batch, rules *StreamRules) (n int, text string) {
	for i := range b.Events {
		if r := checkEvent(&b.Events[i], rules); r != nil {
			if r.event = i; n == 0 {
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
			in.countRefused(who, b.Stream, 1, r)
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

// reply is what a producer is told about a request that went well.
type reply struct {
	first     uint64 // 0: not known yet (ack accepted)
	count     int
	ack       standpipev1.Ack // the level that was reached
	duplicate bool
}

// finish waits until t has come as far as it asked for. When ctx ends while the batch is not yet
// begun, the batch is withdrawn.
func (in *intake) finish(ctx context.Context, t *taken) (reply, *refusal) {
	if t.err == nil && t.ack != standpipev1.Ack_ACK_ACCEPTED {
		// The error is the ticket's or, of a withdrawn batch, ctx's.
		a, err := t.ticket.Wait(ctx)
		return in.conclude(ctx, t, a, err)
	}
	return in.conclude(ctx, t, wal.Appended{}, nil)
}

// conclude is the end of a request whose ticket has come to a and err.
func (in *intake) conclude(ctx context.Context, t *taken, a wal.Appended, err error) (reply, *refusal) {
	if t.who == nil {
		t.who = in.bearer(ctx)
	}
	r, refused := in.outcome(ctx, t, a, err)
	if t.err == nil && err == nil && t.ack != standpipev1.Ack_ACK_ACCEPTED {
		t.stored(a)
	}
	if refused != nil {
		if refused.reason != "" {
			in.countRefused(t.who, t.stream, t.events, refused)
		}
		return r, refused
	}
	in.observer.Appended(in.listener, time.Since(t.start))
	return r, nil
}

// stored counts what the log has stored for its sender.
func (t *taken) stored(a wal.Appended) {
	if t.who != nil && !a.Duplicate {
		t.who.Stored(t.events, t.bytes)
	}
}

func (in *intake) outcome(ctx context.Context, t *taken, a wal.Appended, err error) (reply, *refusal) {
	r := reply{first: a.First, count: t.events, ack: t.ack, duplicate: a.Duplicate}
	switch {
	case t.err != nil:
		return reply{}, t.err
	case err != nil:
		return reply{}, refusalOf(err)
	case t.ack == standpipev1.Ack_ACK_ACCEPTED:
		in.watch.add(ctx, t)
	case t.ack == standpipev1.Ack_ACK_DELIVERED:
		return in.delivered(ctx, t, a, r)
	}
	return r, nil
}

func (in *intake) delivered(ctx context.Context, t *taken, a wal.Appended, r reply) (reply, *refusal) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.hurry, cancel)()
	all, err := in.log.WaitSettled(ctx, t.stream, a)
	if err != nil {
		return reply{}, undelivered(a, err)
	}
	if !all {
		r.ack = standpipev1.Ack_ACK_DURABLE
	}
	return r, nil
}

// undelivered is the refusal of a request that is stored, but not known to be delivered.
func undelivered(a wal.Appended, err error) *refusal {
	r := refusalOf(err)
	cause := "the agent is shutting down"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		cause = "the deadline passed"
	case errors.Is(err, wal.ErrFailed):
		cause = r.text
	}
	text := "the events are stored and synced from offset %d on, but not known to be delivered: %s"
	u := unavailable(text, a.First, cause)
	if errors.Is(err, context.DeadlineExceeded) {
		u.code = r.code
	}
	u.reason = "" // nothing was refused
	return u
}
