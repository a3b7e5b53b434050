package ingestkit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
)

// RetryDelay returns the retry delay of a status.
func RetryDelay(s *status.Status) time.Duration {
	for _, detail := range s.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// ServeGRPC starts a gRPC listener and connects to it.
func ServeGRPC(t *testing.T, o ingest.Options) (*ingest.Server, standpipev1.IngestClient) {
	t.Helper()
	o.Type = ingest.GRPC
	s := Serve(t, o)
	return s, standpipev1.NewIngestClient(Dial(t, s.Addr()))
}

// Dial connects to a gRPC listener.
func Dial(t *testing.T, at net.Addr) *grpc.ClientConn {
	t.Helper()
	return grpckit.Dial(t, grpckit.Target(at))
}

// Event returns an event.
func Event(key, data string) *standpipev1.Event {
	return &standpipev1.Event{PartitionKey: key, Data: []byte(data)}
}

// Request returns a request with an event of key "k" for each data.
func Request(stream string, data ...string) *standpipev1.AppendRequest {
	m := &standpipev1.AppendRequest{Stream: stream}
	for _, d := range data {
		m.Events = append(m.Events, Event("k", d))
	}
	return m
}

// Stream is the client's end of an AppendStream.
type Stream = grpc.BidiStreamingClient[standpipev1.AppendRequest, standpipev1.AppendResponse]

// OpenStream opens an AppendStream.
func OpenStream(t *testing.T, client standpipev1.IngestClient) Stream {
	t.Helper()
	s, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// SendAll sends n requests of one event each, until the stream fails, and ends the stream.
func SendAll(s Stream, stream string, ack standpipev1.Ack, n int) {
	for i := range n {
		m := Request(stream, fmt.Sprint(i))
		m.Ack = ack
		if s.Send(m) != nil {
			return
		}
	}
	s.CloseSend()
}

// ReceiveAll returns the responses and the error that ended the stream; nil: its regular end.
func ReceiveAll(s Stream) (responses []*standpipev1.AppendResponse, err error) {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return responses, nil
		}
		if err != nil {
			return responses, err
		}
		responses = append(responses, r)
	}
}
