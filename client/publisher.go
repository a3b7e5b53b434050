package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/semaphore"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// PublisherOptions configures the batches and retries of a Publisher. The zero value of a field means its default.
type PublisherOptions struct {
	Ack Ack

	// A request goes out when it has so many events or bytes, or when Linger has passed since its first
	// event. An event of more bytes goes out alone.
	BatchEvents int           // default 1000
	BatchBytes  int           // default 256 KiB
	Linger      time.Duration // default 1 ms
	// Window bounds the requests in flight. Default 64, at most 256: the agent keeps the offsets of that many.
	Window int

	// MaxBuffered bounds the bytes of the events that wait for their answers, those that are being sent
	// included. When there is no room Publish waits, or with NoBlock returns ErrFull. Default 16 MiB.
	MaxBuffered int64
	NoBlock     bool

	// After a failure the Publisher waits, from 0 to RetryInitial at first and to RetryMax at last, or longer if the
	// agent requests it.
	RetryInitial time.Duration // default 100 ms
	RetryMax     time.Duration // default 5 s
	// GiveUp is how long events may wait without anything being answered before all that wait are given
	// up: see ErrGivenUp. Default 0: never.
	GiveUp time.Duration

	// OnRefused, when set, is called with each event that was rejected or given up, and the error, before its Receipt
	// has it. It must not call the Publisher.
	OnRefused func(Event, error)

	// Logger gets a line when the agent takes no events, with the reason, and one when it takes them again. Default:
	// slog.Default(). OnState, when set, is called at the same times: with the error, and with nil. It must not call the
	// Publisher.
	Logger  *slog.Logger
	OnState func(error)
}

// maxWindow is below the number of runs that the agent keeps of a producer.
const maxWindow = 256

func (o *PublisherOptions) defaults() {
	set(&o.BatchEvents, 1000)
	set(&o.BatchBytes, 256<<10)
	set(&o.Linger, time.Millisecond)
	set(&o.Window, 64)
	o.Window = min(o.Window, maxWindow)
	set(&o.MaxBuffered, 16<<20)
	set(&o.RetryInitial, 100*time.Millisecond)
	set(&o.RetryMax, 5*time.Second)
	o.RetryMax = max(o.RetryMax, o.RetryInitial)
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Publisher sends events to one stream: it gathers them into requests and sends many of those before
// the first is answered. It may be used by any number of goroutines.
type Publisher struct {
	client *Client
	stream string
	o      PublisherOptions
	room   *semaphore.Weighted

	wake   chan struct{}      // holds one: there is something for run to look at
	hurry  context.CancelFunc // ends run; waiting requests get no response then
	ended  chan struct{}      // closed by run
	closed sync.Once
	result error // of Close; set under closed

	mu sync.Mutex
	// Below: guarded by mu.
	scratch  *standpipev1.AppendRequest
	open     *batch     // takes events; nil: none waits to be sent
	queue    []*request // oldest first; the first sent of them are on the stream that is open
	sent     int
	window   int       // bounds sent
	base     uint64    // the producer's sequence of the first event of queue
	progress time.Time // when something was answered, or began to wait
	answers  int       // since the stream was opened
	closing  bool
	last     error // why the stream ended; nil once something was answered since
	admitted bool  // a stream has had an answer
	// unadmitted is when the first stream was not admitted since the last answer; zero: none.
	unadmitted time.Time
	refused    refusals

	// Below: run's own.
	id     string // the producer's
	doubt  uint64 // events with sequences below it may be stored, though they were not answered
	delays *backoff.ExponentialBackOff
	outage outage
}

// refusals are the rejections that Flush and Close report.
type refusals struct {
	count int
	first error
}

// Publisher returns a publisher to a stream. It has to be closed.
func (c *Client) Publisher(stream string, o PublisherOptions) *Publisher {
	o.defaults()
	p := &Publisher{
		client: c, stream: stream, o: o,
		room:    semaphore.NewWeighted(o.MaxBuffered),
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		scratch: &standpipev1.AppendRequest{Events: []*standpipev1.Event{{}}},
		delays:  o.delays(),
		outage:  newOutage(stream, &o),
	}
	p.renew()
	ctx, hurry := context.WithCancel(c.life)
	p.hurry = hurry
	c.publishers.Go(func() { p.run(ctx) })
	return p
}

// renew makes the publisher another producer, whose numbering begins anew. run alone calls it.
func (p *Publisher) renew() { p.id, p.base, p.doubt = rand.Text(), 1, 0 }

// Publish copies e into the buffer. It waits while the buffer is full, for as long as ctx allows; ctx does not affect
// the event afterwards.
//
// Errors: ErrFull; ErrClosed; ctx's; that the event can't be encoded (a key that is not UTF-8) or is
// larger than the buffer. Nothing will be sent then.
func (p *Publisher) Publish(ctx context.Context, e Event) (Receipt, error) {
	weight := e.weigh()
	if err := p.admit(ctx, weight); err != nil {
		return Receipt{}, fmt.Errorf("publish to %s: %w", p.stream, err)
	}
	receipt, err := p.take(&e, weight)
	if err != nil {
		p.room.Release(weight)
		return Receipt{}, fmt.Errorf("publish to %s: %w", p.stream, err)
	}
	return receipt, nil
}

// admit takes room for an event.
func (p *Publisher) admit(ctx context.Context, weight int64) error {
	switch {
	case weight > p.o.MaxBuffered:
		return fmt.Errorf("an event takes %d bytes of a buffer of %d", weight, p.o.MaxBuffered)
	case !p.o.NoBlock:
		return p.room.Acquire(ctx, weight)
	case !p.room.TryAcquire(weight):
		return ErrFull
	}
	return nil
}

// take puts e into the open batch.
func (p *Publisher) take(e *Event, weight int64) (Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return Receipt{}, ErrClosed
	}
	if p.open != nil && len(p.open.encoded)+int(weight) > p.o.BatchBytes {
		p.cut()
	}
	b := p.open
	if b == nil {
		b = newBatch(time.Now())
	}
	if err := b.add(e, weight, p.scratch); err != nil {
		return Receipt{}, err
	}
	receipt := Receipt{b, len(b.ends) - 1}
	if p.open == nil {
		p.begin(b)
	}
	if len(b.ends) >= p.o.BatchEvents || len(b.encoded) >= p.o.BatchBytes {
		p.cut()
	}
	return receipt, nil
}

// begin makes b the open batch. The caller holds mu.
func (p *Publisher) begin(b *batch) {
	p.open = b
	if len(p.queue) == 0 {
		p.progress = b.born
	}
	p.poke()
}

// cut puts the open batch into the queue. The caller holds mu.
func (p *Publisher) cut() {
	if p.open == nil {
		return
	}
	p.queue = append(p.queue, p.open.whole())
	p.open = nil
	p.poke()
}

func (p *Publisher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Flush sends the buffered events without waiting for more, and returns when every event that was published before
// has its result. The error is ctx's, with the number of remaining events; or it has the number of events that were
// rejected since the last Flush, and wraps the first one's *Error.
func (p *Publisher) Flush(ctx context.Context) error {
	last := p.lastBatch()
	if last == nil {
		return p.refusals("flush")
	}
	select {
	case <-last.done:
		return p.refusals("flush")
	case <-ctx.Done():
		return p.unfinished(ctx.Err())
	}
}

// lastBatch cuts the open batch and returns the last one without a result; nil: there is none.
func (p *Publisher) lastBatch() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
	if len(p.queue) == 0 {
		return nil
	}
	return p.queue[len(p.queue)-1].batch
}

// unfinished is the error of a Flush that was not waited for.
func (p *Publisher) unfinished(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.queue {
		n += r.events()
	}
	if p.last == nil {
		return fmt.Errorf("flush %s: %w with %d events unanswered", p.stream, cause, n)
	}
	return fmt.Errorf("flush %s: %w with %d events unanswered; the last try: %v", p.stream, cause, n, p.last)
}

// refusals reports the rejections and resets them.
func (p *Publisher) refusals(verb string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.refused
	p.refused = refusals{}
	switch r.count {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s %s: 1 event was not stored: %w", verb, p.stream, r.first)
	}
	return fmt.Errorf("%s %s: %d events were not stored, the first: %w", verb, p.stream, r.count, r.first)
}

// Close accepts no further event, flushes, and ends the publisher. When ctx ends before every event has its response,
// the rest has the result ErrClosed. It returns the error of Flush, and the same one when it is called again.
func (p *Publisher) Close(ctx context.Context) error {
	p.closed.Do(func() { p.result = p.close(ctx) })
	return p.result
}

func (p *Publisher) close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.cut()
	p.mu.Unlock()
	p.poke()
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
	p.hurry()
	<-p.ended
	return p.refusals("close")
}
