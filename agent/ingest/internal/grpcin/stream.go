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

// streamDepth bounds the requests of one AppendStream that await their responses. It keeps the commits of a slow disk
// full of single events.
const streamDepth = 4096

// appendStream is one AppendStream. Its handler is the responding goroutine. The receiving goroutine ends after the
// handler has returned, since the context of the stream ends then.
type appendStream struct {
	service *service
	wire    grpc.ServerStream
	path    string // of requests that another agent relays; empty: they come from a producer
	chain   wal.Chain

	slots chan struct{} // holds one for each request in waiting; so adding to it never blocks
	// waiting holds the requests in their order. The receiving goroutine closes it after the last one and sets ended
	// before.
	waiting chan *intake.Submission
	ended   error

	mu     sync.Mutex // held from before a request is submitted until it is in waiting
	closed bool       // guarded by mu; no further request is taken

	// accepted are the requests with a response of ack level accepted whose commit is not known yet, oldest first.
	accepted []*intake.Submission
}

// AppendStream stores and answers requests in the order in which they arrive.
func (s *service) AppendStream(wire grpc.ServerStream) error {
	s.active.Add(1)
	defer s.active.Add(-1)
	a := &appendStream{
		service: s,
		wire:    wire,
		path:    pathOf(wire.Context()),
		slots:   make(chan struct{}, streamDepth),
		waiting: make(chan *intake.Submission, streamDepth),
	}
	s.receivers.Go(func() { a.receive(wire.Context()) })
	return a.respond(wire.Context())
}

// receive submits requests until the producer ends the stream, one of them is rejected, or the handler has returned.
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
		if !a.submit(ctx, w) {
			a.ended = errStreamDraining // unless w was refused: then that is the stream's status
			return
		}
	}
}

// submit hands w to the service and reports whether the next request may be submitted.
func (a *appendStream) submit(ctx context.Context, w *wireRequest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		w.Free()
		return false
	}
	t := a.service.submit(ctx, w, &a.chain, a.path)
	a.waiting <- &t
	return t.Rejected == nil
}

// respond sends the responses to one request after another and returns the status of the stream.
func (a *appendStream) respond(ctx context.Context) error {
	for {
		select {
		case t, ok := <-a.waiting:
			if ended, err := a.next(ctx, t, ok); ended {
				return err
			}
		case <-a.service.in.Draining:
			a.close()
			return a.respondRest(ctx)
		}
	}
}

// next responds to t, or ends the stream when there is none or its response is the status.
func (a *appendStream) next(ctx context.Context, t *intake.Submission, ok bool) (ended bool, err error) {
	if !ok {
		return true, a.end(ctx)
	}
	err = a.respondTo(ctx, t)
	return err != nil, err
}

// close ends the submission of requests.
func (a *appendStream) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// respondRest responds to the requests that were submitted before close. It does not rely on the end of waiting: the
// receiving goroutine may block in Recv until the handler returns.
func (a *appendStream) respondRest(ctx context.Context) error {
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

// respondTo waits for t and answers it.
func (a *appendStream) respondTo(ctx context.Context, t *intake.Submission) error {
	<-a.slots
	if err := a.acceptedFault(); err != nil {
		return err
	}
	r, refused := a.await(ctx, t)
	if refused != nil {
		return refused
	}
	if t.Ack == standpipev1.Ack_ACK_ACCEPTED {
		a.accepted = append(a.accepted, t)
	}
	return a.wire.SendMsg(&r)
}

// await awaits t, but never withdraws it when ctx ends: a later request of the stream may be submitted already, and the
// stored requests must be a prefix.
func (a *appendStream) await(ctx context.Context, t *intake.Submission) (intake.Response, *intake.Rejection) {
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

// unanswered is the status of a stream whose deadline has passed or whose producer has closed it.
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

// acceptedFault returns the rejection of the first request with a response of ack level accepted that is known not to be
// stored. It drops the stored ones from accepted.
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

// awaitAccepted awaits all requests with a response of ack level accepted, and returns the rejection of the first one
// that was not stored.
func (a *appendStream) awaitAccepted(ctx context.Context) *intake.Rejection {
	if n := len(a.accepted); n > 0 {
		a.accepted[n-1].Ticket.Hurry()
	}
	for _, t := range a.accepted {
		if _, err := concluded(ctx, t.Ticket); err != nil {
			return intake.RejectionOf(err)
		}
	}
	a.accepted = nil
	return nil
}

// end returns the status of a stream after the response to its last request.
func (a *appendStream) end(ctx context.Context) error {
	if r := a.awaitAccepted(ctx); r != nil {
		return r
	}
	if errors.Is(a.ended, io.EOF) {
		return nil
	}
	return a.ended // with a gRPC status: it comes from Recv
}
