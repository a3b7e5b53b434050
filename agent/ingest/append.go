package ingest

import (
	"context"
	"sync"
	"unsafe"

	"github.com/standpipe/standpipe/wal"
)

// service is standpipe.v1.Ingest.
type service struct {
	in        *intake
	room      *room          // for large requests that have arrived whole, until the log has taken them
	decoding  *room          // for the messages that package proto decodes
	receivers sync.WaitGroup // the receiving goroutines of all streams
}

// sizeOfEvent is the memory of an event without its data.
const sizeOfEvent = int(unsafe.Sizeof(wal.Event{}))

// call is a request with its reader, which are used again together.
type call struct {
	request
	wire wireReader
}

var calls = sync.Pool{New: func() any { return new(call) }}

func (c *call) free() {
	if c.request.reset() {
		c.wire = wireReader{joined: c.wire.joined}
		calls.Put(c)
	}
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
	r := calls.Get().(*call)
	defer r.free()
	r.wire.decoding = s.decoding
	defer r.wire.free()
	events := r.wire.count(w.BufferSlice)
	if events > maxEvents {
		return taken{events: events, err: tooLarge("the request has %d events; %d are allowed", events, maxEvents)}
	}
	held := heldWhole(w.Len()) + heldWhole(events*sizeOfEvent)
	if !s.room.take(held) {
		return taken{events: max(1, events), err: errNoRoom}
	}
	defer func() { s.room.give(held) }()
	if refused := r.wire.read(w.BufferSlice, &r.request, s.in.clock().UnixNano()); refused != nil {
		return taken{events: max(1, len(r.batch.Events)), err: refused}
	}
	joined := heldWhole(w.Len()+len(r.wire.joined)) - heldWhole(w.Len())
	if !s.room.take(joined) {
		return taken{events: len(r.batch.Events), err: errNoRoom}
	}
	held += joined
	if s.in.isDraining() {
		return taken{events: len(r.batch.Events), err: errDraining}
	}
	r.batch.Chain, r.awaited = chain, chain == nil
	return s.in.take(ctx, &r.request)
}
