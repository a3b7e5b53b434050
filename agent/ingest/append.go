package ingest

import (
	"context"
	"sync"

	"github.com/standpipe/standpipe/wal"
)

// service is standpipe.v1.Ingest.
type service struct {
	in        *intake
	room      *room          // for large requests that have arrived whole, until the log has taken them
	receivers sync.WaitGroup // the receiving goroutines of all streams
}

// Append stores one batch and frees w.
func (s *service) Append(ctx context.Context, w *wireRequest) (*reply, error) {
	t := s.take(ctx, w, nil)
	r, refused := s.in.finish(ctx, &t)
	if refused != nil {
		return nil, refused
	}
	return &r, nil
}

// take hands w to the log, tied to chain unless that is nil, and frees it.
func (s *service) take(ctx context.Context, w *wireRequest, chain *wal.Chain) taken {
	defer w.Free()
	r := requests.Get().(*request)
	defer r.free()
	if refused := r.wire.read(w.BufferSlice, r, s.in.clock().UnixNano()); refused != nil {
		return taken{events: max(1, len(r.batch.Events)), err: refused}
	}
	held := heldWhole(w.Len() + len(r.wire.joined))
	if !s.room.take(held) {
		return taken{events: len(r.batch.Events), err: errNoRoom}
	}
	defer s.room.give(held)
	select {
	case <-s.in.draining:
		return taken{events: len(r.batch.Events), err: errDraining}
	default:
	}
	r.batch.Chain, r.awaited = chain, chain == nil
	return s.in.take(ctx, r)
}
