package client

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// batch is a run of events that were published one after another. It is encoded as they come, as the events of an
// AppendRequest, so that it needs no further work when it is sent, or sent again. Publisher.mu guards it, except for
// the fields that done covers.
type batch struct {
	encoded []byte // nil once every event has its result
	pooled  *[]byte
	ends    []int // where each event ends in encoded
	weight  int64 // of room
	born    time.Time
	left    int // events without a result

	done chan struct{} // closed when every event has its result
	// Set before done is closed.
	offsets []uint64
	errs    map[int]error
}

// request is the unit on the wire: the events [from, to) of a batch.
type request struct {
	*batch
	from, to int
}

// pooled are the buffers of batches.
var pooled = sync.Pool{New: func() any { return new([]byte) }}

// poolable bounds the buffers that are kept for reuse.
const poolable = 1 << 20

func newBatch(born time.Time) *batch {
	b := &batch{pooled: pooled.Get().(*[]byte), born: born, done: make(chan struct{})}
	b.encoded = (*b.pooled)[:0]
	return b
}

// add appends e. scratch holds one event and is reused.
func (b *batch) add(e *Event, weight int64, scratch *standpipev1.AppendRequest) error {
	e.fill(scratch.Events[0])
	encoded, err := proto.MarshalOptions{}.MarshalAppend(b.encoded, scratch)
	if err != nil {
		return err
	}
	b.encoded = encoded
	b.ends = append(b.ends, len(encoded))
	b.weight += weight
	b.left++
	return nil
}

// whole is the batch as one request.
func (b *batch) whole() *request {
	b.offsets = make([]uint64, len(b.ends))
	return &request{b, 0, len(b.ends)}
}

// settle gives the events [from, to) their results and reports whether they were the last.
func (b *batch) settle(from, to int, first uint64, err error) bool {
	for i := from; i < to; i++ {
		switch {
		case err != nil:
			if b.errs == nil {
				b.errs = make(map[int]error)
			}
			b.errs[i] = err
		case first > 0:
			b.offsets[i] = first + uint64(i-from)
		}
	}
	b.left -= to - from
	return b.left == 0
}

// release gives the buffer back and wakes all waiting callers.
func (b *batch) release() {
	if cap(b.encoded) <= poolable {
		*b.pooled = b.encoded[:0]
		pooled.Put(b.pooled)
	}
	b.encoded, b.pooled, b.ends = nil, nil, nil
	close(b.done)
}

// bytes are the encoded events [from, to).
func (b *batch) bytes(from, to int) []byte {
	begin := 0
	if from > 0 {
		begin = b.ends[from-1]
	}
	return b.encoded[begin:b.ends[to-1]]
}

func (r *request) events() int { return r.to - r.from }

// message is the encoded form that is sent. Events follow the other fields as bytes: to protobuf, a repeated field
// may come in any number of pieces.
func (r *request) message(stream string, ack Ack, id string, sequence uint64) *standpipev1.AppendRequest {
	m := &standpipev1.AppendRequest{
		Stream: stream, Ack: standpipev1.Ack(ack), ProducerId: id, ProducerSequence: sequence,
	}
	m.ProtoReflect().SetUnknown(r.bytes(r.from, r.to))
	return m
}

// without returns the rest of r without the events [from, to) of its batch.
func (r *request) without(from, to int) (rest []*request) {
	if r.from < from {
		rest = append(rest, &request{r.batch, r.from, from})
	}
	if to < r.to {
		rest = append(rest, &request{r.batch, to, r.to})
	}
	return rest
}

// Receipt stands for a published event. It may be thrown away.
type Receipt struct {
	batch *batch
	index int
}

// Done is closed when the event is answered.
func (r Receipt) Done() <-chan struct{} { return r.batch.done }

// Wait waits for the event's answer and returns its offset; 0: stored, but the offset is not known. The
// error is ctx's, or why the event is not stored or not known to be: an *Error, ErrClosed, ErrGivenUp.
func (r Receipt) Wait(ctx context.Context) (offset uint64, err error) {
	select {
	case <-r.batch.done:
		return r.batch.offsets[r.index], r.batch.errs[r.index]
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
