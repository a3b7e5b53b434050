package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// ReadOptions is the part of a stream that Read returns. The zero value is for the events that are appended from now on, without
// end.
type ReadOptions struct {
	// The begin: at most one of the three is set.
	FromOffset uint64    // from 1 up to that of the next event
	FromTime   time.Time // the first event of this time or later, if the times ascend
	FromOldest bool      // the first event that the log still has

	Keys  []string // only events of these partition keys; none: all. At most 1,000
	Limit uint64   // of events; 0: none
	// Once ends the reading at the end that the stream has at the call. Otherwise it waits for new events.
	Once bool
}

// StoredEvent is an event with its place in a stream.
type StoredEvent struct {
	Event
	Offset uint64
	LogID  string // with the stream and the offset it is the ID of an envelope
	// Lag is the number of events that the stream had behind this one when the agent sent it.
	Lag uint64
}

// GoneError reports events that cannot be read: every destination has settled them and the log has them no more, or a part of the
// log is damaged.
type GoneError struct {
	From, Next uint64 // the offsets from From up to Next, exclusive
	Damaged    bool
}

func (e *GoneError) Error() string {
	cause := "the log has them no more"
	if e.Damaged {
		cause = "a part of the log is damaged"
	}
	return fmt.Sprintf("events from offset %d up to %d cannot be read: %s", e.From, e.Next-1, cause)
}

// Read returns the events of a stream in the order of their offsets. It needs the permission to read; it settles nothing and holds
// nothing back.
//
// When the connection breaks, or the agent is stopped, Read goes on where it was, for as long as ctx allows. A *GoneError does not
// end the sequence: the next pair is behind the gap. Every other error is the last pair: ctx's, or an *Error, as for a stream that
// does not exist. A FromOffset that the stream has not reached is OUT_OF_RANGE: the log is not the one that had this offset.
func (c *Client) Read(ctx context.Context, stream string, o ReadOptions) iter.Seq2[StoredEvent, error] {
	return func(yield func(StoredEvent, error) bool) {
		r := &reader{client: c, options: o, request: o.request(stream), delays: (&PublisherOptions{RetryInitial: 100 * time.Millisecond, RetryMax: 5 * time.Second}).delays()}
		for {
			err := r.session(ctx, yield)
			switch {
			case err == nil:
				return
			case ctx.Err() != nil:
				yield(StoredEvent{}, ctx.Err())
				return
			}
			gone := goneOf(err, r.request.FromOffset)
			if gone != nil {
				if !yield(StoredEvent{}, gone) {
					return
				}
				r.resumeAt(gone.Next)
				continue
			}
			e := ErrorOf(err)
			if e.Final() {
				yield(StoredEvent{}, fmt.Errorf("read %s: %w", stream, e))
				return
			}
			delay := time.NewTimer(max(r.delays.NextBackOff(), e.RetryAfter))
			select {
			case <-delay.C:
			case <-ctx.Done():
				delay.Stop()
			}
		}
	}
}

func (o *ReadOptions) request(stream string) *standpipev1.ReadRequest {
	r := &standpipev1.ReadRequest{
		Stream: stream, FromOffset: o.FromOffset, FromOldest: o.FromOldest, Keys: o.Keys, Follow: !o.Once, Limit: o.Limit,
	}
	if !o.FromTime.IsZero() {
		r.FromTimeUnixNano = o.FromTime.UnixNano()
	}
	return r
}

// reader is one Read.
type reader struct {
	client  *Client
	options ReadOptions
	request *standpipev1.ReadRequest // that resumes
	end     uint64                   // of a reading that goes on once: the first end
	delays  interface {
		NextBackOff() time.Duration
		Reset()
	}
}

// resumeAt makes the next request begin at an offset.
func (r *reader) resumeAt(offset uint64) {
	r.request.FromOffset, r.request.FromOldest, r.request.FromTimeUnixNano = offset, false, 0
}

// session reads over one stream. It returns nil when the reading is over.
func (r *reader) session(ctx context.Context, yield func(StoredEvent, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wire, err := standpipev1.NewReaderClient(r.client.conn).Read(ctx, r.request)
	if err != nil {
		return err
	}
	for {
		m, err := wire.Recv()
		if errors.Is(err, io.EOF) && (r.options.Once || r.options.Limit > 0) {
			return nil
		}
		if err != nil {
			return err
		}
		r.delays.Reset()
		if r.end == 0 {
			r.end = m.EndOffset
		}
		for _, e := range m.Events {
			if r.options.Once && e.Offset >= r.end {
				return nil // appended since the first session began
			}
			r.resumeAt(e.Offset + 1)
			more := yield(storedEvent(e, m.EndOffset), nil)
			if r.request.Limit > 0 {
				if r.request.Limit--; r.request.Limit == 0 {
					more = false
				}
			}
			if !more {
				return nil
			}
		}
		r.resumeAt(m.NextOffset)
	}
}

func storedEvent(e *standpipev1.StoredEvent, end uint64) StoredEvent {
	s := StoredEvent{Offset: e.Offset, LogID: e.LogId, Lag: end - 1 - e.Offset}
	if m := e.Event; m != nil {
		s.Event = Event{Key: m.PartitionKey, Data: m.Data, Attributes: m.Attributes}
		if m.TimeUnixNano != 0 {
			s.Time = time.Unix(0, m.TimeUnixNano)
		}
	}
	return s
}

// goneOf returns the gap that ended a session, or nil.
func goneOf(err error, from uint64) *GoneError {
	s := status.Convert(err)
	if s.Code() != codes.OutOfRange && s.Code() != codes.DataLoss {
		return nil
	}
	for _, detail := range s.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		if next := offsetOf(info); next > from {
			return &GoneError{From: from, Next: next, Damaged: s.Code() == codes.DataLoss}
		}
	}
	return nil
}

func offsetOf(info *errdetails.ErrorInfo) uint64 {
	n, _ := strconv.ParseUint(info.GetMetadata()["first_offset"], 10, 64)
	return n
}

// Streams returns the offset of the next event of each stream that has events and that the caller may read. In the pattern of names
// * is any run of characters; an empty one matches all.
func (c *Client) Streams(ctx context.Context, pattern string) (next map[string]uint64, err error) {
	r, err := standpipev1.NewReaderClient(c.conn).Streams(ctx, &standpipev1.StreamsRequest{Pattern: pattern})
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", ErrorOf(err))
	}
	next = make(map[string]uint64, len(r.Streams))
	for _, s := range r.Streams {
		next[s.Name] = s.NextOffset
	}
	return next, nil
}
