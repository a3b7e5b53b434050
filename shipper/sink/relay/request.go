package relay

import (
	"sort"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// request is the range under way, encoded as the events of an AppendRequest.
type request struct {
	branch   *branch // of its first event
	encoded  []byte
	ends     []int // where each event ends in encoded
	offsets  []uint64
	began    time.Time
	stored   int // events at the beginning that the receiver is known to have
	requests int // that were sent
	sent     uint64

	scratch standpipev1.AppendRequest
}

func newRequest() *request {
	return &request{scratch: standpipev1.AppendRequest{Events: []*standpipev1.Event{{}}}}
}

// keptCapacity bounds the buffer that is kept for the next range.
const keptCapacity = 2 * aimRequest

// reset empties the range.
func (r *request) reset() {
	if cap(r.encoded) > keptCapacity {
		r.encoded = nil
	}
	*r = request{encoded: r.encoded[:0], ends: r.ends[:0], offsets: r.offsets[:0], scratch: standpipev1.AppendRequest{Events: r.scratch.Events}}
}

func (r *request) empty() bool { return len(r.ends) == 0 }

// add encodes e. On an error, which an event has whose texts are no UTF-8, the range is unchanged.
func (r *request) add(e *wal.Event) error {
	m := r.scratch.Events[0]
	m.PartitionKey, m.Data, m.TimeUnixNano, m.Attributes = e.Key, e.Data, e.Time, e.Attributes
	encoded, err := proto.MarshalOptions{}.MarshalAppend(r.encoded, &r.scratch)
	m.PartitionKey, m.Data, m.Attributes = "", nil, nil
	if err != nil {
		return err
	}
	r.encoded = encoded
	r.ends, r.offsets = append(r.ends, len(encoded)), append(r.offsets, e.Offset)
	return nil
}

// message returns the AppendRequest for the events that the receiver does not have. The events stand in it as encoded
// fields.
func (r *request) message(stream string, ack client.Ack) *standpipev1.AppendRequest {
	m := &standpipev1.AppendRequest{
		Stream: stream, Ack: standpipev1.Ack(ack), ProducerId: r.branch.producer,
		ProducerSequence: r.offsets[r.stored], ProducerNext: r.next(),
	}
	begin := 0
	if r.stored > 0 {
		begin = r.ends[r.stored-1]
	}
	m.ProtoReflect().SetUnknown(r.encoded[begin:])
	return m
}

// next returns the offset after the range.
func (r *request) next() uint64 { return r.offsets[len(r.offsets)-1] + 1 }

// left returns the number of events that the receiver is not known to have.
func (r *request) left() int { return len(r.ends) - r.stored }

// storedBefore notes that the receiver has the events before next. It returns false if that makes no sense.
func (r *request) storedBefore(next uint64) bool {
	if next <= r.offsets[r.stored] || next >= r.next() {
		return false
	}
	r.stored = sort.Search(len(r.offsets), func(i int) bool { return r.offsets[i] >= next })
	return true
}
