package client

import (
	"context"
	"fmt"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// Batch is a request: all of its events are stored, or none.
type Batch struct {
	Stream string
	Events []Event
	Ack    Ack

	// A producer that numbers its events sets both, and may send a batch again whose answer it did not
	// get: the agent stores it once. Sequence is the first event's number, from 1; a batch of n events
	// with sequence s is followed by s + n in the same stream.
	ProducerID string // at most 128 bytes
	Sequence   uint64
	// Next, when set, is the number that follows the batch, of a producer that leaves out numbers: the events have some of
	// the numbers from Sequence up to Next, and the batch may begin after the stored ones.
	Next uint64
}

// Appended is the position of a stored batch.
type Appended struct {
	First     uint64 // the stream's offset of the first event; 0: not known
	Count     int
	Ack       Ack  // the level that was reached
	Duplicate bool // the batch had been stored before
}

// Append stores events and returns the offset of the first one, once they have reached the stream's ack level: synced
// to the agent's disk unless configured otherwise. Offsets count from 1; 0: not known.
//
// The error holds an *Error. Append does not try again by itself.
func (c *Client) Append(ctx context.Context, stream string, events ...Event) (offset uint64, err error) {
	stored, err := c.AppendBatch(ctx, Batch{Stream: stream, Events: events})
	return stored.First, err
}

// AppendBatch is Append with all options of a request.
func (c *Client) AppendBatch(ctx context.Context, b Batch) (Appended, error) {
	r, err := c.ingest.Append(ctx, &standpipev1.AppendRequest{
		Stream: b.Stream, Events: messages(b.Events), Ack: standpipev1.Ack(b.Ack),
		ProducerId: b.ProducerID, ProducerSequence: b.Sequence, ProducerNext: b.Next,
	})
	if err != nil {
		return Appended{}, fmt.Errorf("append to %s: %w", b.Stream, ErrorOf(err))
	}
	return Appended{r.FirstOffset, int(r.Count), Ack(r.Ack), r.Duplicate}, nil
}
