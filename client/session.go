package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// run opens one stream after another for as long as there is something to send.
func (p *Publisher) run(ctx context.Context) {
	defer close(p.ended)
	for p.awaitEvents(ctx) {
		p.conclude(ctx, p.session(ctx))
	}
	p.abandon(p.unanswered())
}

// awaitEvents waits until something has to be sent, and reports whether it has.
func (p *Publisher) awaitEvents(ctx context.Context) bool {
	for {
		if waiting, closing := p.state(); waiting || closing {
			return waiting && ctx.Err() == nil
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return false
		}
	}
}

func (p *Publisher) state() (waiting, closing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open != nil || len(p.queue) > 0, p.closing
}

// session sends over one AppendStream, from the first unanswered request on, until it ends, and
// returns how it ended: nil when the publisher is closed and everything is answered.
func (p *Publisher) session(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sequence := p.rewind()
	wire, err := p.client.ingest.AppendStream(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1) // the receiving goroutine's last word
	all.Go(func() {
		defer cancel() // so that a Send that waits for room on the wire returns
		ended <- p.receive(wire)
	})
	all.Go(func() { p.watchProgress(ctx, cancel) })
	return p.send(wire, sequence, ended)
}

// rewind marks all requests without a response as unsent, and returns the sequence of the first. A stream begins with
// one request, and has twice as many in flight after each response: if that one is rejected, and the agent discards
// the following ones, little was sent in vain.
func (p *Publisher) rewind() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent, p.answers, p.window = 0, 0, 1
	return p.base
}

// send sends waiting requests until the stream has ended.
func (p *Publisher) send(wire standpipev1.Ingest_AppendStreamClient, sequence uint64, ended <-chan error) error {
	linger := time.NewTimer(0)
	defer linger.Stop()
	finished := false
	for {
		r, wait, done := p.next(time.Now())
		switch {
		case r != nil:
			m := r.message(p.stream, p.o.Ack, p.id, sequence)
			if wire.Send(m) != nil {
				return <-ended // the receiving side reports the cause
			}
			sequence += uint64(r.events())
			continue
		case done && !finished:
			finished = true
			wire.CloseSend()
		}
		linger.Reset(wait)
		select {
		case <-p.wake:
		case <-linger.C:
		case err := <-ended:
			return err
		}
	}
}

// idle is how long send sleeps when nothing but a wake can give it something to do.
const idle = time.Hour

// next returns the request to be sent, or how long to wait for one. done: the publisher is closed and
// nothing is left to be sent.
func (p *Publisher) next(now time.Time) (r *request, wait time.Duration, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent >= p.window {
		return nil, idle, false
	}
	if p.sent == len(p.queue) {
		if p.open == nil {
			return nil, idle, p.closing
		}
		if wait = p.open.born.Add(p.o.Linger).Sub(now); wait > 0 {
			return nil, wait, false
		}
		p.cut()
	}
	r = p.queue[p.sent]
	p.sent++
	return r, 0, false
}

// receive notes the answers until the stream ends.
func (p *Publisher) receive(wire standpipev1.Ingest_AppendStreamClient) error {
	for {
		m, err := wire.Recv()
		if err != nil {
			return err
		}
		p.outage.end()
		if err := p.answered(m); err != nil {
			return err
		}
	}
}

// answered settles the oldest request.
func (p *Publisher) answered(m *standpipev1.AppendResponse) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent == 0 || int(m.Count) != p.queue[0].events() {
		return status.Errorf(codes.Internal, "the answer is for %d events; %d requests are unanswered", m.Count, p.sent)
	}
	r := p.queue[0]
	p.drop(1)
	p.sent--
	p.base += uint64(r.events())
	p.answers++
	p.window = min(2*p.window, p.o.Window)
	p.progress, p.last, p.admitted, p.unadmitted = time.Now(), nil, true, time.Time{}
	p.settle(r, r.from, r.to, m.FirstOffset, nil)
	p.poke()
	return nil
}

// drop removes the n oldest requests. The caller holds mu.
func (p *Publisher) drop(n int) {
	clear(p.queue[:n])
	p.queue = p.queue[n:]
}

// settle gives the events [from, to) of r's batch their results. The caller holds mu.
func (p *Publisher) settle(r *request, from, to int, first uint64, err error) {
	if err != nil {
		if p.refused.count == 0 {
			p.refused.first = err
		}
		p.refused.count += to - from
	}
	if b := r.batch; b.settle(from, to, first, err) {
		p.room.Release(b.weight)
		b.release()
	}
}

// watchProgress calls cancel when events have waited for as long as GiveUp without an answer to any. It
// returns when ctx has ended.
func (p *Publisher) watchProgress(ctx context.Context, cancel context.CancelFunc) {
	if p.o.GiveUp <= 0 {
		return
	}
	timer := time.NewTimer(p.patience())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		left := p.patience()
		if left <= 0 {
			cancel()
			return
		}
		timer.Reset(left)
	}
}

// patience is how long the publisher goes on without an answer.
func (p *Publisher) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.GiveUp <= 0 {
		return idle
	}
	if p.open == nil && len(p.queue) == 0 {
		return p.o.GiveUp
	}
	return time.Until(p.progress.Add(p.o.GiveUp))
}

// unanswered is the result of events that have no answer when the publisher ends.
func (p *Publisher) unanswered() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return ErrClosed
	}
	return fmt.Errorf("%w; the last try: %w", ErrClosed, p.last)
}

// abandon settles all that waits with err.
func (p *Publisher) abandon(err error) {
	p.mu.Lock()
	p.closing = p.closing || errors.Is(err, ErrClosed)
	p.cut()
	rest := p.queue
	p.mu.Unlock()
	for _, r := range rest {
		p.refuse(r, r.from, r.to, err)
	}
}
