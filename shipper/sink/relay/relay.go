package relay

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sizing"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
	"github.com/standpipe/standpipe/wal"
)

// Sink is a stream of another agent as a destination.
type Sink struct {
	o        Options
	branches []branch
	link     *link
	conn     *grpc.ClientConn
	ingest   standpipev1.IngestClient

	request *request
	aim     int          // bytes of a request
	passed  int          // ranges since aim was lowered
	sizer   sizing.Sizer // bounds requests further on a slow link
}

var _ ranged.Sink = (*Sink)(nil)

// New returns the destination. It reads the files of TLS and of the token, and opens no connection.
func New(o Options) (*Sink, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	credentials, err := o.credentials()
	if err != nil {
		return nil, err
	}
	l := new(link)
	local := strings.HasPrefix(o.Address, "unix:")
	var further []grpc.DialOption
	if !local {
		further = append(further, grpc.WithContextDialer(l.dial))
	}
	conn, err := client.Connect(o.Address, credentials, further...)
	if err != nil {
		return nil, err
	}
	s := newSink(o, conn, l)
	s.sizer = sizing.New(!local)
	return s, nil
}

func newSink(o Options, conn *grpc.ClientConn, l *link) *Sink {
	if o.Ack == client.AckDefault {
		o.Ack = client.AckDurable
	}
	return &Sink{
		o: o, branches: o.branches(), link: l, conn: conn, ingest: standpipev1.NewIngestClient(conn),
		request: newRequest(), aim: aimRequest,
	}
}

// Shape never changes.
func (s *Sink) Shape() shipper.Shape { return s.o.Shape() }

// Recover returns from: the receiver recognises stored events.
func (s *Sink) Recover(_ context.Context, from uint64, _ []byte) (uint64, *shipper.Error) {
	return from, nil
}

// Add encodes the events. A range ends where the branch of the log ends.
func (s *Sink) Add(_ context.Context, events []wal.Event) (int, *ranged.Error) {
	r, most := s.request, s.most()
	for i := range events {
		e := &events[i]
		of := s.branchOf(e.Offset)
		switch {
		case r.empty():
			r.branch, r.began = of, time.Now()
		case r.branch != of, len(r.encoded) >= most, len(r.ends) >= requestEvents, len(r.encoded)+e.Size() > most:
			return i, nil
		}
		if err := r.add(e); err != nil {
			return i, rejected(e.Offset, "the event cannot be encoded: key or attributes are not valid UTF-8")
		}
	}
	return len(events), nil
}

// branchOf returns the branch of the event at offset.
func (s *Sink) branchOf(offset uint64) *branch {
	of := &s.branches[0]
	for i := range s.branches {
		if s.branches[i].first <= offset {
			of = &s.branches[i]
		}
	}
	return of
}

// Due returns the time at which the range is to be sent: at once if it is large enough.
func (s *Sink) Due() time.Time {
	switch r := s.request; {
	case r.empty():
		return time.Time{}
	case len(r.encoded) >= s.most() || len(r.ends) >= requestEvents:
		return r.began
	default:
		return r.began.Add(s.o.MaxDelay)
	}
}

// Seal returns nil: the receiver recognises a range that is sent again.
func (s *Sink) Seal() []byte { return nil }

// Commit sends the range.
func (s *Sink) Commit(ctx context.Context) (ranged.Outcome, *ranged.Error) {
	for {
		failed := s.send(ctx)
		if failed == nil {
			break
		}
		if failed.stored > 0 && s.request.storedBefore(failed.stored) {
			continue
		}
		return ranged.Outcome{Code: failed.Code}, &failed.Error
	}
	s.widen()
	r := s.request
	defer r.reset()
	return ranged.Outcome{Requests: r.requests, Records: len(r.ends), BilledBytes: r.sent, Code: "ok"}, nil
}

// send sends the events that the receiver does not have, in one request.
func (s *Sink) send(ctx context.Context) *requestError {
	if s.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.o.Timeout)
		defer cancel()
	}
	if s.o.Path != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, PathHeader, s.o.Path())
	}
	r := s.request
	m := r.message(s.o.Stream, s.o.Ack)
	r.requests++
	size := len(m.ProtoReflect().GetUnknown())
	r.sent += uint64(size)
	s.link.begin()
	response, err := s.ingest.Append(ctx, m)
	way := s.link.end()
	if err != nil {
		failed := classify(err, r.offsets[r.stored:])
		if ctx.Err() != nil { // gRPC would send the rest of an abandoned request when the link is back
			s.link.dialer.Abandon(time.Now())
		}
		if failed.Restart {
			s.narrow()
		}
		s.slowed(size, way, failed)
		return failed
	}
	s.sizer.Stored(size, size, way.Moving)
	if int(response.Count) != r.left() || client.Ack(response.Ack) < client.AckDurable {
		return &requestError{Error: ranged.Error{Error: shipper.Error{
			Code: failure.CodeBadResponse, Record: -1,
			Text: fmt.Sprintf("%d events at level %s in the response to %d", response.Count, response.Ack, r.left()),
		}}}
	}
	return nil
}

// most returns the bytes that a request may have, of several events.
func (s *Sink) most() int { return min(s.aim, s.sizer.Lower(aimRequest)) }

// slowed lowers the size of requests after one that failed for the link, and lets a range that is far larger begin again.
func (s *Sink) slowed(size int, way dial.Progress, failed *requestError) {
	// At AckDelivered, a timeout says nothing about the link: the destinations of the receiver may be slow.
	timedOut := failed.Code == failure.CodeTimeout && s.o.Ack == client.AckDurable
	s.sizer.Failed(size, size, way.Acked, way.Moving, timedOut)
	if timedOut || failed.Code == failure.CodeConnection {
		s.sizer.Interrupted()
	}
	if failed.Class == shipper.Transient && s.request.left() > 1 && size >= 2*s.most() {
		failed.Restart = true
	}
}

// wideAgain is the number of ranges after which a lowered aim is raised again.
const wideAgain = 64

// narrow halves the size of the next ranges. It is called for a request that is too large or too slow, and for a rejected
// event: where many events are rejected, each costs one small request.
func (s *Sink) narrow() { s.aim, s.passed = max(1, min(s.aim, len(s.request.encoded))/2), 0 }

// widen doubles a lowered aim after enough ranges.
func (s *Sink) widen() {
	if s.passed++; s.passed >= wideAgain && s.aim < aimRequest {
		s.aim, s.passed = min(2*s.aim, aimRequest), 0
	}
}

// Abort discards the range. The receiver may have it: then its events are answered as duplicates later.
func (s *Sink) Abort(context.Context) { s.request.reset() }

// Close closes the connection.
func (s *Sink) Close() error {
	if err := s.conn.Close(); err != nil && status.Code(err) != codes.Canceled {
		return fmt.Errorf("close connection to %s: %w", s.o.Address, err)
	}
	return nil
}
