package grpcin

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// streamDepth bounds the requests of one AppendStream that wait for their replies: enough to
// keep a slow disk's commits full of single events.
const streamDepth = 4096

// appendStream is one AppendStream. Its handler is the goroutine that replies; the other one,
// which receives, ends when the handler has returned, for then the stream's context does.
type appendStream struct {
	service *service
	wire    grpc.ServerStream
	chain   wal.Chain

	slots chan struct{} // holds one for each request in waiting; so adding to it never blocks
	// waiting holds the requests in the order of the wire. The receiving goroutine closes it when
	// it has met the end of them; ended says how.
	waiting chan *intake.Submission
	ended   error

	mu     sync.Mutex // held from before a request is submitted until it is in waiting
	closed bool       // guarded by mu; no further request is taken

	// accepted are the requests that were answered before the log had concluded them, oldest first.
	accepted []*intake.Submission
}

// AppendStream stores and answers requests in the order in which they arrive.
func (s *service) AppendStream(wire grpc.ServerStream) error {
	a := &appendStream{
		service: s,
		wire:    wire,
		slots:   make(chan struct{}, streamDepth),
		waiting: make(chan *intake.Submission, streamDepth),
	}
	s.receivers.Go(func() { a.receive(wire.Context()) })
	return a.answer(wire.Context())
}

// receive takes requests until the producer ends the stream, one of them is refused, or the
// handler has returned.
func (a *appendStream) receive(ctx context.Context) {
	defer close(a.waiting)
	for {
		w := new(wireRequest)
		if err := a.wire.RecvMsg(w); err != nil {
			a.ended = err
			return
		}
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			w.Free()
			a.ended = ctx.Err()
			return
		}
		if !a.take(ctx, w) {
			a.ended = errStreamDraining // unless w was refused: then that is the stream's status
			return
		}
	}
}

// take submits w and reports whether the one after it may be taken.
func (a *appendStream) take(ctx context.Context, w *wireRequest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		w.Free()
		return false
	}
	t := a.service.take(ctx, w, &a.chain)
	a.waiting <- &t
	return t.Rejected == nil
}

// answer replies to one request after another and returns the status of the stream.
func (a *appendStream) answer(ctx context.Context) error {
	for {
		select {
		case t, ok := <-a.waiting:
			if ended, err := a.next(ctx, t, ok); ended {
				return err
			}
		case <-a.service.in.Draining:
			a.close()
			return a.answerRest(ctx)
		}
	}
}

// next replies to t, or ends the stream when there is none or its reply is its status.
func (a *appendStream) next(ctx context.Context, t *intake.Submission, ok bool) (ended bool, err error) {
	if !ok {
		return true, a.end(ctx)
	}
	err = a.reply(ctx, t)
	return err != nil, err
}

// close lets no further request be taken.
func (a *appendStream) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// answerRest replies to what had been taken before close. The receiving goroutine may hang in
// Recv until the handler returns, so there may be nobody to close waiting.
func (a *appendStream) answerRest(ctx context.Context) error {
	for {
		select {
		case t, ok := <-a.waiting:
			if ended, err := a.next(ctx, t, ok); ended {
				return err
			}
		default:
			if r := a.awaitAccepted(ctx); r != nil {
				return r
			}
			return errStreamDraining
		}
	}
}

// reply waits for t and answers it.
func (a *appendStream) reply(ctx context.Context, t *intake.Submission) error {
	<-a.slots
	if err := a.acceptedFault(); err != nil {
		return err
	}
	r, refused := a.finish(ctx, t)
	if refused != nil {
		return refused
	}
	if t.Ack == standpipev1.Ack_ACK_ACCEPTED {
		a.accepted = append(a.accepted, t)
	}
	return a.wire.SendMsg(&r)
}

// finish waits for t, but never withdraws it when ctx ends: a later request of the stream may be
// in the log's hands already, and what is stored has to be a prefix.
func (a *appendStream) finish(ctx context.Context, t *intake.Submission) (intake.Response, *intake.Rejection) {
	in := a.service.in
	if t.Rejected != nil || t.Ack == standpipev1.Ack_ACK_ACCEPTED {
		return in.Conclude(ctx, t, wal.Appended{}, nil)
	}
	stored, err := concluded(ctx, t.Ticket)
	if err != nil && err == ctx.Err() {
		return intake.Response{}, unanswered(err)
	}
	if errors.Is(err, wal.ErrChainBroken) {
		if cause := a.awaitAccepted(ctx); cause != nil {
			return intake.Response{}, cause
		}
	}
	return in.Conclude(ctx, t, stored, err)
}

// unanswered is the status of a stream whose deadline has passed or whose producer went away.
func unanswered(cause error) *intake.Rejection {
	r := intake.RejectionOf(cause)
	r.Text = "the stream ended while requests waited for the log: what is not answered may be stored"
	return r
}

var errStreamDraining = intake.Unavailable("the agent is shutting down: what was answered is stored, and nothing else")

// concluded is Wait without withdrawing.
func concluded(ctx context.Context, t intake.Ticket) (wal.Appended, error) {
	select {
	case <-t.Done():
		return t.Result()
	case <-ctx.Done():
		return wal.Appended{}, ctx.Err()
	}
}

// acceptedFault returns why a request that was answered as accepted was not stored, if one is
// known to be, and forgets those that were.
func (a *appendStream) acceptedFault() error {
	for len(a.accepted) > 0 {
		select {
		case <-a.accepted[0].Ticket.Done():
		default:
			return nil
		}
		_, err := a.accepted[0].Ticket.Result()
		if err != nil {
			return intake.RejectionOf(err)
		}
		a.accepted = a.accepted[1:]
	}
	return nil
}

// awaitAccepted waits for all requests that were answered as accepted and returns why the first
// of them that was not stored was not.
func (a *appendStream) awaitAccepted(ctx context.Context) *intake.Rejection {
	for _, t := range a.accepted {
		if _, err := concluded(ctx, t.Ticket); err != nil {
			return intake.RejectionOf(err)
		}
	}
	a.accepted = nil
	return nil
}

// end is the status of a stream after the last of its requests was answered.
func (a *appendStream) end(ctx context.Context) error {
	if r := a.awaitAccepted(ctx); r != nil {
		return r
	}
	if errors.Is(a.ended, io.EOF) {
		return nil
	}
	return a.ended // with a gRPC status: it comes from Recv
}
