package readout

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/seek"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// Log is the interface to the log; a *wal.Log is one. See shipper.Source for Read, Next and Grown.
type Log interface {
	Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error)
	Next(stream string) uint64
	Grown(stream string) <-chan struct{}
	Branches(stream string) []wal.Branch
	Streams() []wal.StreamStat
}

const (
	// chunkSize is the memory of the events that a reader reads at once.
	chunkSize = 256 << 10
	// maxReaders bounds the readers of a listener, and with chunkSize their memory.
	maxReaders = 32
	// maxKeys bounds the keys of a request.
	maxKeys = 1000
	// rereadDelay is the pause after a failed read of the disk.
	rereadDelay = time.Second
)

type service struct {
	standpipev1.UnimplementedReaderServer
	in      *intake.Intake
	log     Log
	readers chan struct{} // holds one for each reader
}

// Register adds the service to a server.
func Register(server *grpc.Server, in *intake.Intake, log Log) {
	standpipev1.RegisterReaderServer(server, &service{in: in, log: log, readers: make(chan struct{}, maxReaders)})
}

// Streams returns the streams that the caller may read.
func (s *service) Streams(ctx context.Context, r *standpipev1.StreamsRequest) (*standpipev1.StreamsResponse, error) {
	all := new(standpipev1.StreamsResponse)
	for _, stream := range s.log.Streams() {
		if stream.Next == 1 || r.Pattern != "" && !access.Matches(r.Pattern, stream.Name) {
			continue
		}
		refused := s.in.MayRead(ctx, stream.Name)
		if refused == nil {
			all.Streams = append(all.Streams, &standpipev1.StreamInfo{Name: stream.Name, NextOffset: stream.Next})
		} else if refused.Code != codes.PermissionDenied {
			return nil, refused
		}
	}
	return all, nil
}

// Read sends the events of a stream.
func (s *service) Read(r *standpipev1.ReadRequest, wire standpipev1.Reader_ReadServer) error {
	if refused := s.check(wire.Context(), r); refused != nil {
		return refused
	}
	select {
	case s.readers <- struct{}{}:
		defer func() { <-s.readers }()
	default:
		e := intake.Unavailable("%d readers are open, and no more are allowed", maxReaders)
		e.Code, e.Retry = codes.ResourceExhausted, time.Second
		return e
	}
	return newReading(s, r, wire).run()
}

// check rejects a request that breaks a rule, and one for a stream that the caller may not read.
func (s *service) check(ctx context.Context, r *standpipev1.ReadRequest) *intake.Rejection {
	begins := 0
	for _, set := range []bool{r.FromOffset != 0, r.FromTimeUnixNano != 0, r.FromOldest} {
		if set {
			begins++
		}
	}
	switch {
	case begins > 1:
		return intake.Invalid("%d of from_offset, from_time_unix_nano and from_oldest are set; at most one is allowed", begins)
	case len(r.Keys) > maxKeys:
		return intake.Invalid("the request has %d keys; at most %d are allowed", len(r.Keys), maxKeys)
	}
	if refused := s.in.MayRead(ctx, r.Stream); refused != nil {
		return refused
	}
	end := s.log.Next(r.Stream)
	if end == 1 { // else it is a stream, also if its block is gone
		if refused := s.in.Known(r.Stream); refused != nil {
			return refused
		}
	}
	if r.FromOffset > end {
		e := intake.Invalid("from_offset %d is beyond the end of stream %s, which will give offset %d to its next event; the log may be another one than before",
			r.FromOffset, intake.QuoteName(r.Stream), end)
		e.Code = codes.OutOfRange
		return e
	}
	return nil
}

// reading is one Read.
type reading struct {
	*service
	r    *standpipev1.ReadRequest
	wire standpipev1.Reader_ReadServer
	keys map[string]bool // nil: all

	next   uint64 // offset
	end    uint64 // where a reading ends that does not follow
	left   uint64 // events until the limit
	strict bool   // an offset that is left out before the next event is a fault
}

func newReading(s *service, r *standpipev1.ReadRequest, wire standpipev1.Reader_ReadServer) *reading {
	g := &reading{service: s, r: r, wire: wire, end: s.log.Next(r.Stream), left: r.Limit, strict: true}
	if len(r.Keys) > 0 {
		g.keys = make(map[string]bool, len(r.Keys))
		for _, key := range r.Keys {
			g.keys[key] = true
		}
	}
	switch {
	case r.FromOffset > 0:
		g.next = r.FromOffset
	case r.FromTimeUnixNano != 0:
		g.next, g.strict = seek.FirstSince(s.log, r.Stream, r.FromTimeUnixNano, g.end), false
	case r.FromOldest:
		g.next, g.strict = 1, false
	default:
		g.next = g.end
	}
	return g
}

// run sends events until the reading ends.
func (g *reading) run() error {
	for {
		grown := g.log.Grown(g.r.Stream)
		chunk, err := g.log.Read(g.r.Stream, g.next, wal.AllLanes, chunkSize)
		if corrupt, ok := errors.AsType[*wal.CorruptError](err); ok {
			return lost(codes.DataLoss, g.next, g.readableAfter(max(chunk.Next, g.next)), "a part of the log is damaged: "+corrupt.Reason)
		}
		if err != nil {
			if err := g.pause(nil, time.After(rereadDelay)); err != nil {
				return err
			}
			continue
		}
		done, err := g.send(&chunk)
		if done || err != nil {
			return err
		}
		if refused := g.in.MayRead(g.wire.Context(), g.r.Stream); refused != nil {
			return refused // since the begin
		}
		if chunk.End {
			if err := g.pause(grown, nil); err != nil {
				return err
			}
		}
	}
}

// pause waits until the stream has grown, or for a time; the nil one does not end it. The error is the end of the reading.
func (g *reading) pause(grown <-chan struct{}, at <-chan time.Time) error {
	select {
	case <-at:
	case <-grown:
	case <-g.wire.Context().Done():
		return g.wire.Context().Err()
	case <-g.in.Draining:
		return intake.Unavailable("the agent is shutting down")
	}
	return nil
}

// readableAfter returns the next offset behind a damaged part at which the log can be read.
func (g *reading) readableAfter(damaged uint64) uint64 {
	readable := func(offset uint64) bool {
		_, err := g.log.Read(g.r.Stream, offset, wal.AllLanes, 1)
		return err == nil
	}
	low, step, end := damaged, uint64(1), g.log.Next(g.r.Stream)
	for low+step < end && !readable(low+step) {
		low, step = low+step, 2*step
	}
	high := min(low+step, end)
	for low+1 < high {
		if middle := low + (high-low)/2; readable(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// send sends the wanted events of a chunk, and reports whether the reading is at its end.
func (g *reading) send(chunk *wal.Chunk) (done bool, err error) {
	m := &standpipev1.ReadResponse{}
	branches := g.log.Branches(g.r.Stream)
	gap := uint64(0) // the first offset after one
	for i := range chunk.Events {
		e := &chunk.Events[i]
		if !g.r.Follow && e.Offset >= g.end {
			done = true
			break
		}
		if g.strict && e.Offset > g.next {
			gap = e.Offset
			break
		}
		g.next, g.strict = e.Offset+1, true
		if g.keys != nil && !g.keys[e.Key] {
			continue
		}
		m.Events = append(m.Events, stored(e, branches))
		if g.r.Limit > 0 {
			if g.left--; g.left == 0 {
				done = true
				break
			}
		}
	}
	if !done && gap == 0 && chunk.Next > g.next {
		if g.strict {
			gap = chunk.Next
		} else {
			g.next = chunk.Next // a reading from the oldest event has found none yet
		}
	}
	if gap >= g.end && !g.r.Follow && g.next >= g.end {
		gap = 0 // behind the part that was requested
	}
	done = done || gap == 0 && !g.r.Follow && (g.next >= g.end || chunk.End)
	m.NextOffset, m.EndOffset = g.next, g.log.Next(g.r.Stream)
	if err := g.wire.Send(m); err != nil {
		return false, err
	}
	if gap > 0 {
		return false, lost(codes.OutOfRange, g.next, gap, "the log has them no more")
	}
	return done, nil
}

func stored(e *wal.Event, branches []wal.Branch) *standpipev1.StoredEvent {
	id := ""
	for _, b := range branches {
		if e.Offset >= b.First {
			id = b.ID
		}
	}
	return &standpipev1.StoredEvent{Offset: e.Offset, LogId: id, Event: &standpipev1.Event{
		PartitionKey: e.Key, Data: e.Data, TimeUnixNano: e.Time, Attributes: e.Attributes,
	}}
}

// lost is the error for the events from one offset up to another.
func lost(code codes.Code, from, next uint64, cause string) error {
	s := status.Newf(code, "events from offset %d up to %d cannot be read: %s; reading may go on at offset %d", from, next-1, cause, next)
	detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: "GONE", Domain: "standpipe", Metadata: map[string]string{
		"first_offset": strconv.FormatUint(next, 10),
	}})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}
