package grpcin

import (
	"context"
	"sync"
	"sync/atomic"
	"unsafe"

	"google.golang.org/grpc/metadata"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/wal"
)

// service is standpipe.v1.Ingest.
type service struct {
	in        *intake.Intake
	budget    *budget.Budget // bytes of large requests and of their events, until the WAL has them
	decoding  *budget.Budget // for the messages that package proto decodes
	active    atomic.Int64   // requests and streams in progress
	receivers sync.WaitGroup // the receiving goroutines of all streams
}

// sizeOfEvent is the memory of an event without its data.
const sizeOfEvent = int(unsafe.Sizeof(wal.Event{}))

// call is a request with its reader, which are used again together.
type call struct {
	intake.Request
	wire wireReader
}

var calls = sync.Pool{New: func() any { return new(call) }}

func (c *call) free() {
	if c.Request.Reset() {
		c.wire = wireReader{joined: c.wire.joined}
		calls.Put(c)
	}
}

// Append stores one batch and frees w.
func (s *service) Append(ctx context.Context, w *wireRequest) (*intake.Response, error) {
	s.active.Add(1)
	defer s.active.Add(-1)
	t := s.submit(ctx, w, nil, pathOf(ctx))
	r, refused := s.in.Await(ctx, &t)
	if refused != nil {
		return nil, refused
	}
	return &r, nil
}

// pathHeader is the metadata that marks the request of an agent which relays its events.
const pathHeader = "standpipe-path"

// pathOf returns the path of a relayed request, or "".
func pathOf(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, pathHeader); len(values) > 0 {
		return values[0]
	}
	return ""
}

// submit hands w to the intake, tied to chain unless that is nil, and frees it. path is that of a relayed request.
func (s *service) submit(ctx context.Context, w *wireRequest, chain *wal.Chain, path string) intake.Submission {
	defer w.Free()
	r := calls.Get().(*call)
	defer r.free()
	r.wire.decoding = s.decoding
	defer r.wire.free()
	events := r.wire.count(w.BufferSlice)
	if events > maxEvents {
		return intake.Submission{Events: events, Rejected: intake.TooLarge("the request has %d events; %d are allowed", events, maxEvents)}
	}
	held := heldWhole(w.Len()) + heldWhole(events*sizeOfEvent)
	if !s.budget.Acquire(held) {
		return intake.Submission{Events: max(1, events), Rejected: intake.ErrOverBudget}
	}
	defer func() { s.budget.Release(held) }()
	if refused := r.wire.read(w.BufferSlice, &r.Request, s.in.Clock()); refused != nil {
		return intake.Submission{Events: max(1, len(r.Batch.Events)), Rejected: refused}
	}
	joined := heldWhole(w.Len()+len(r.wire.joined)) - heldWhole(w.Len())
	if !s.budget.Acquire(joined) {
		return intake.Submission{Events: len(r.Batch.Events), Rejected: intake.ErrOverBudget}
	}
	held += joined
	if s.in.IsDraining() {
		return intake.Submission{Events: len(r.Batch.Events), Rejected: intake.ErrDraining}
	}
	r.Batch.Chain, r.Awaited, r.Path = chain, chain == nil, path
	return s.in.Submit(ctx, &r.Request)
}
