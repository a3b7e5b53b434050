package grpcin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

func TestAppend_KeepsTheEvent(t *testing.T) {
	log := ingestkit.NewLog(t)
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	m := ingestkit.Request("bytes", "a", "b")
	m.Events[0].TimeUnixNano = 42
	m.Events[0].Attributes = map[string]string{"topic": "x"}
	m.ProducerId, m.ProducerSequence = "p", 9
	if _, err := client.Append(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	events := log.Events()
	if got := events[0]; got.Time != 42 || got.Attributes["topic"] != "x" {
		t.Errorf("event 0: stored %+v", got)
	}
	if got, want := events[1].Time, ingestkit.Now.UnixNano(); got != want {
		t.Errorf("event 1: stored time %d, want the agent's clock, %d", got, want)
	}
	if b := log.Batches[0]; b.ProducerID != "p" || b.ProducerSequence != 9 {
		t.Errorf("stored producer %q, %d", b.ProducerID, b.ProducerSequence)
	}
}

func TestAckLevels(t *testing.T) {
	tests := []struct {
		name   string
		stream string
		ack    standpipev1.Ack
		lost   bool
		first  uint64
		want   standpipev1.Ack
	}{
		{"the default", "bytes", 0, false, 1, standpipev1.Ack_ACK_DURABLE},
		{"the stream's default", "loose", 0, false, 0, standpipev1.Ack_ACK_ACCEPTED},
		{"accepted", "bytes", standpipev1.Ack_ACK_ACCEPTED, false, 0, standpipev1.Ack_ACK_ACCEPTED},
		{"durable", "loose", standpipev1.Ack_ACK_DURABLE, false, 1, standpipev1.Ack_ACK_DURABLE},
		{"delivered", "bytes", standpipev1.Ack_ACK_DELIVERED, false, 1, standpipev1.Ack_ACK_DELIVERED},
		{"dead-lettered", "bytes", standpipev1.Ack_ACK_DELIVERED, true, 1, standpipev1.Ack_ACK_DURABLE},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := ingestkit.NewLog(t)
			log.Lost = test.lost
			_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
			m := ingestkit.Request(test.stream, "a", "b", "c")
			m.Ack = test.ack
			r, err := client.Append(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if r.FirstOffset != test.first || r.Count != 3 || r.Ack != test.want {
				t.Errorf("got %v, want offset %d and %v", r, test.first, test.want)
			}
		})
	}
}

// TestAckLevels_AcceptedWhileTheLogIsFull was answered well, and then the events were gone.
func TestAckLevels_AcceptedWhileTheLogIsFull(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.IsFull = true
	log.Refuse[0] = &wal.FullError{Used: 10, Max: 11}
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	m := ingestkit.Request("bytes", "a")
	m.Ack = standpipev1.Ack_ACK_ACCEPTED
	if _, err := client.Append(t.Context(), m); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want RESOURCE_EXHAUSTED", err)
	}
	r, err := client.Append(t.Context(), m)
	if err != nil || r.FirstOffset != 1 || r.Ack != standpipev1.Ack_ACK_DURABLE {
		t.Errorf("once there is room: got %v, %v, want offset 1 and that it is synced", r, err)
	}
}

func TestErrors_OfTheLog(t *testing.T) {
	tests := []struct {
		err  error
		code codes.Code
		text string
	}{
		{&wal.FullError{Used: 10, Max: 11}, codes.ResourceExhausted, "the log is full: 10 of 11 bytes in use"},
		{fmt.Errorf("append: %w", wal.ErrFull), codes.ResourceExhausted, "append: wal: the log is full"},
		{fmt.Errorf("%w: sync: EIO: the outcome is unknown", wal.ErrFailed), codes.Unavailable, "the log has failed: sync: EIO: the outcome is unknown"},
		{wal.ErrClosed, codes.Unavailable, "the agent is shutting down: nothing of this request was stored"},
		{&wal.SequenceError{Producer: "p", Got: 7, Want: 5}, codes.InvalidArgument, `producer "p": sequence 7, want 5`},
		{errors.New("something else"), codes.Unavailable, "something else"},
	}
	for _, test := range tests {
		log := ingestkit.NewLog(t)
		log.Refuse[0] = test.err
		_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
		_, err := client.Append(t.Context(), ingestkit.Request("bytes", "a"))
		got := status.Convert(err)
		if got.Code() != test.code || got.Message() != test.text {
			t.Errorf("%v: got %v %q, want %v %q", test.err, got.Code(), got.Message(), test.code, test.text)
		}
		if got, want := saysWhen(got), test.code == codes.ResourceExhausted; got != want {
			t.Errorf("%v: says when to try again: got %v, want %v", test.err, got, want)
		}
	}
}

// saysWhen reports whether a status carries a delay.
func saysWhen(s *status.Status) bool {
	return slices.ContainsFunc(s.Details(), func(detail any) bool {
		_, ok := detail.(*errdetails.RetryInfo)
		return ok
	})
}

func TestDeadline(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	defer close(log.Hold)
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := client.Append(ctx, ingestkit.Request("bytes", "a"))
	if got, want := status.Code(err), codes.DeadlineExceeded; got != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestStop_GivesUpWaitingForDelivery(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Stuck = true
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	refused := make(chan error, 1)
	go func() {
		m := ingestkit.Request("bytes", "a")
		m.Ack = standpipev1.Ack_ACK_DELIVERED
		_, err := client.Append(t.Context(), m)
		refused <- err
	}()
	ingestkit.AwaitSubmitted(t, log, 1)
	if err := ingestkit.StopNow(server); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: got %v, want that its deadline passed", err)
	}
	got := status.Convert(<-refused)
	want := "the events are stored and synced from offset 1 on, but not known to be delivered: the agent is shutting down"
	if got.Code() != codes.Unavailable || got.Message() != want {
		t.Errorf("got %v %q, want %v %q", got.Code(), got.Message(), codes.Unavailable, want)
	}
}

func TestRequest_OverTheLimit(t *testing.T) {
	log := ingestkit.NewLog(t)
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, MaxRequestSize: 1 << 20})
	if _, err := client.Append(t.Context(), ingestkit.Request("bytes", strings.Repeat("x", 1<<20-100))); err != nil {
		t.Error(err)
	}
	_, err := client.Append(t.Context(), ingestkit.Request("bytes", strings.Repeat("x", 1<<20)))
	if got, want := status.Code(err), codes.ResourceExhausted; got != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestHealth(t *testing.T) {
	server, _ := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t)})
	health := grpc_health_v1.NewHealthClient(ingestkit.Dial(t, server.Addr()))
	for _, service := range []string{"", "standpipe.v1.Ingest"} {
		r, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: got %v, %v", service, r, err)
		}
	}
	watch, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("got %v, %v", r, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Stop(context.Background()) }()
	if r, err := watch.Recv(); err != nil || r.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("got %v, %v", r, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStop_DoesNotWaitForReflection(t *testing.T) {
	server, _ := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t)})
	reflection := grpc_reflection_v1.NewServerReflectionClient(ingestkit.Dial(t, server.Addr()))
	s, err := reflection.ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	r, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range r.GetListServicesResponse().Service {
		names = append(names, service.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "standpipe.v1.Ingest") {
		t.Errorf("services: %s", got)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTokens(t *testing.T) {
	log := ingestkit.NewLog(t)
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Guard: accesstest.Tokens(t, "good")})
	for authorization, want := range map[string]codes.Code{
		"":            codes.Unauthenticated,
		"good":        codes.Unauthenticated,
		"Bearer bad":  codes.Unauthenticated,
		"Bearer good": codes.OK,
		"bearer good": codes.OK,
	} {
		ctx := t.Context()
		if authorization != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", authorization)
		}
		_, err := client.Append(ctx, ingestkit.Request("bytes", "a"))
		if got := status.Code(err); got != want {
			t.Errorf("%q: Append: got %v, want %v", authorization, err, want)
		}
		s, err := client.AppendStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.CloseSend()
		if _, err := ingestkit.ReceiveAll(s); status.Code(err) != want {
			t.Errorf("%q: AppendStream: got %v, want %v", authorization, err, want)
		}
	}
	health := grpc_health_v1.NewHealthClient(ingestkit.Dial(t, server.Addr()))
	if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health without a token: %v", err)
	}
}
