package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc/codes"
)

// conclude decides the next step after the end of a stream. When it returns, the next one may be opened.
func (p *Publisher) conclude(ctx context.Context, ended error) {
	e := endOf(ended)
	p.doubted(e)
	r := p.first()
	switch {
	case r == nil, ctx.Err() != nil:
	case e.Code == codes.InvalidArgument && e.Reason == reasonSequence:
		// The agent has lost its state of this producer, or events that it had acknowledged from memory.
		p.renew()
		p.pause(ctx, e)
	case !e.Final():
		p.pause(ctx, e)
	case e.unadmitted() && p.mayBeAdmitted():
		p.pause(ctx, e)
	case e.Code != codes.InvalidArgument && !e.tooLarge(), e.Reason == reasonNoStream:
		p.refuseSent(e)
	case e.Event >= 0 && e.Event < r.events():
		at := r.from + e.Event
		p.refuseOf(r, at, at+1, e.alone())
	case r.events() > 1:
		p.halve(r)
	default:
		p.refuseOf(r, r.from, r.to, e)
	}
}

// The agent's reasons that conclude distinguishes.
const (
	reasonSequence = "sequence"
	reasonNoStream = "no_stream" // there is none of that name, or can be none
)

// admissionPatience is how long a stream that is not admitted is opened again before events are given up. It
// exceeds the second in which an agent notices a changed token file.
const admissionPatience = 3 * time.Second

// mayBeAdmitted reports whether a new stream, with the credentials of then, is worth another try. A stream keeps
// the credentials that it was opened with: once a token is rotated, the agent ends the streams that show the old
// one, which is no rejection of their events. The publisher tries at least once more. A publisher that never got a
// response counts as an unknown caller, and does not try again.
func (p *Publisher) mayBeAdmitted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.admitted {
		return false
	}
	if p.unadmitted.IsZero() {
		p.unadmitted = time.Now()
		return true
	}
	return time.Since(p.unadmitted) < admissionPatience
}

// endOf is how a stream ended. The agent ends it without error only on request, after all responses; remaining
// requests, if any, are sent again.
func endOf(err error) *Error {
	if err == nil || errors.Is(err, io.EOF) {
		return &Error{Code: codes.Unavailable, Event: NoEvent, Text: "the agent ended the stream"}
	}
	return ErrorOf(err)
}

// doubted notes up to where events without a response may be stored. A rejection by the agent leaves no doubt: it stores
// no events that were sent after the rejected ones. A rejection by a proxy does: the agent may have stored requests whose
// responses reached no client.
func (p *Publisher) doubted(e *Error) {
	if e.Final() && (e.Reason != "" || e.tooLarge()) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.base
	for _, r := range p.queue[:p.sent] {
		end += uint64(r.events())
	}
	if p.sent > 0 {
		p.doubt = max(p.doubt, end)
	}
}

// first returns the oldest request without an answer; nil: there is none.
func (p *Publisher) first() *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.cut()
	}
	if len(p.queue) == 0 {
		return nil
	}
	return p.queue[0]
}

// pause waits before the next try, or gives up.
func (p *Publisher) pause(ctx context.Context, e *Error) {
	p.mu.Lock()
	p.last = e
	answers := p.answers
	if answers > 0 {
		p.delays.Reset()
	}
	p.mu.Unlock()
	if answers == 0 {
		p.outage.begin(e)
	}
	left := p.patience()
	delay := time.NewTimer(min(max(p.delays.NextBackOff(), e.RetryAfter), left))
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
		return
	}
	if p.patience() <= 0 {
		p.giveUp(e)
	}
}

// delays makes full jitter of the library's backoff: with a randomization factor of 1 a delay is drawn from 0 to
// twice the interval, so the intervals are half of the wanted ones. It never ends.
func (o *PublisherOptions) delays() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(o.RetryInitial/2),
		backoff.WithMaxInterval(o.RetryMax/2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
	)
}

// giveUp settles all that waits. Some of it may be stored, under numbers that must not be used again.
func (p *Publisher) giveUp(e *Error) {
	p.abandon(fmt.Errorf("%w after %s without an answer; the last try: %w", ErrGivenUp, p.o.GiveUp, e))
	p.renew()
	p.delays.Reset()
}

// refuseOf removes the events [from, to) from the oldest request. The numbers of later events move up. An agent that
// has stored some of them already must not mistake them for stored ones, so the publisher becomes another producer
// for it. Then events whose responses were lost may be stored twice. That takes an agent that stored them and,
// started again, rejects an older one of them.
func (p *Publisher) refuseOf(r *request, from, to int, err error) {
	if p.doubt > p.base {
		p.renew()
	}
	p.refuse(r, from, to, err)
}

// refuseSent refuses all that was sent, at least the oldest request: it is not the events that the
// agent objects to.
func (p *Publisher) refuseSent(e *Error) {
	p.mu.Lock()
	refused := p.queue[:max(p.sent, 1)]
	p.mu.Unlock()
	for _, r := range refused {
		p.refuseOf(r, r.from, r.to, e)
	}
}

// refuse settles the events [from, to) of the oldest request with err.
func (p *Publisher) refuse(r *request, from, to int, err error) {
	if p.o.OnRefused != nil {
		for i := from; i < to; i++ {
			p.o.OnRefused(decode(r.bytes(i, i+1)), err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(r.without(from, to))
	p.settle(r, from, to, 0, err)
}

// halve cuts the oldest request in two, to find the faulty event or to make it fit.
func (p *Publisher) halve(r *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	middle := r.from + r.events()/2
	p.replace([]*request{{r.batch, r.from, middle}, {r.batch, middle, r.to}})
}

// replace puts requests in the place of the oldest one. The caller holds mu.
func (p *Publisher) replace(with []*request) {
	if len(with) == 1 {
		p.queue[0] = with[0]
		return
	}
	p.queue = append(with, p.queue[1:]...)
}
