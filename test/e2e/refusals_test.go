//go:build unix

package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// raw sends bytes that no client's library would send.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { return nil }
func (raw) Name() string                       { return "proto" }

// Every bad batch is refused whole, with the code and the event's index, and nothing of it is stored.
func TestBatch_BadIsRejectedWhole(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination)+
		streamBlock("lines", "\n  format = \"text\"\n  max_event_size = \"1KiB\"", fileDestination))
	client := a.dial()
	good := event{"k", `{"ok":true}`}
	with := func(stream string, bad event) *standpipev1.AppendRequest {
		return request(stream, good, good, bad, good)
	}
	produced := func(id string, sequence uint64) *standpipev1.AppendRequest {
		r := request("s", good)
		r.ProducerId, r.ProducerSequence = id, sequence
		return r
	}
	unknownAck := request("s", good)
	unknownAck.Ack = 17

	for _, test := range []struct {
		name    string
		request *standpipev1.AppendRequest
		want    codes.Code
		words   []string
	}{
		{"no stream", request("", good), codes.InvalidArgument, []string{"stream"}},
		{"unknown stream", request("nowhere", good), codes.NotFound, []string{"nowhere"}},
		{"no events", request("s"), codes.InvalidArgument, []string{"event"}},
		{"empty key", with("s", event{"", "{}"}), codes.InvalidArgument, []string{"event 2", "key"}},
		{"long key", with("s", event{strings.Repeat("é", 257), "{}"}), codes.InvalidArgument, []string{"event 2", "key", "257", "256"}},
		{"no JSON", with("s", event{"k", `{"ok":`}), codes.InvalidArgument, []string{"event 2", "json"}},
		{"empty", with("s", event{"k", ""}), codes.InvalidArgument, []string{"event 2"}},
		{"two values", with("s", event{"k", `{} {}`}), codes.InvalidArgument, []string{"event 2", "json"}},
		{"two lines of JSON", with("s", event{"k", "{\n}"}), codes.InvalidArgument, []string{"event 2", "line"}},
		{"two lines of text", with("lines", event{"k", "a\nb"}), codes.InvalidArgument, []string{"event 2", "line"}},
		{"too large", with("s", event{"k", `"` + filler(1000<<10) + `"`}), codes.InvalidArgument, []string{"event 2", "1024002", "1024000"}},
		{"too large for a stream", with("lines", event{"k", filler(1025)}), codes.InvalidArgument, []string{"event 2", "1025", "1024"}},
		{"long producer id", produced(strings.Repeat("p", 129), 1), codes.InvalidArgument, []string{"producer", "129", "128"}},
		{"no sequence", produced("p", 0), codes.InvalidArgument, []string{"sequence"}},
		{"no producer", produced("", 1), codes.InvalidArgument, []string{"producer"}},
		{"unknown ack", unknownAck, codes.InvalidArgument, []string{"ack", "17"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := client.Append(t.Context(), test.request)
			expectError(t, err, test.want, test.words...)
			if err != nil && strings.Contains(err.Error(), "abcdefgh") {
				t.Error("the error text holds the payload")
			}
		})
	}
	for _, stream := range []string{"s", "lines"} {
		if got := a.stream(stream).Appended.Events; got != 0 {
			t.Errorf("stream %s: got %d events stored of refused batches, want 0", stream, got)
		}
	}
	for _, fits := range []event{{strings.Repeat("é", 256), "{}"}, {"k", `"` + filler(1000<<10-2) + `"`}} {
		if _, err := client.Append(t.Context(), request("s", fits)); err != nil {
			t.Errorf("an event at the limit: %v", err)
		}
	}
}

// A key that is no UTF-8 and bytes that are no request are refused, and the connection serves on.
func TestRequest_Malformed(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	conn := a.connection(a.grpc)
	for name, body := range map[string]string{
		"key":     "\x0a\x01s\x12\x08\x0a\x02\xff\xfe\x12\x02{}",
		"request": "\x0a\x7fs",
	} {
		err := conn.Invoke(t.Context(), standpipev1.Ingest_Append_FullMethodName, []byte(body), new([]byte), grpc.ForceCodec(raw{}))
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	send(t, standpipev1.NewIngestClient(conn), "s", readings(31, 10))
	if got := a.stream("s").Appended.Events; got != 10 {
		t.Errorf("got %d events, want 10", got)
	}
}

// The first request that fails ends an AppendStream with its status; the answered requests are a prefix.
func TestAppendStream_EndsAtTheFirstRejection(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	calls, err := a.dial().AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := event{"k", "{}"}
	for _, r := range []*standpipev1.AppendRequest{request("s", good, good), request("s", good), request("s", good, event{"", "{}"}), request("s", good)} {
		calls.Send(r)
	}
	for _, want := range []uint64{1, 3} {
		got, err := calls.Recv()
		if err != nil || got.FirstOffset != want {
			t.Fatalf("got %v, %v, want first offset %d", got, err, want)
		}
	}
	_, err = calls.Recv()
	expectError(t, err, codes.InvalidArgument, "event 1", "key")
	if got := a.stream("s").Appended.Events; got != 3 {
		t.Errorf("got %d events stored, want the 3 of the answered prefix", got)
	}
}

// A resent batch is recognised, across a restart too; a gap in the sequence is not taken silently.
func TestBatch_ResentIsStoredOnce(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	r := request("s", readings(32, 5)...)
	r.ProducerId, r.ProducerSequence = "gateway-17", 1
	first, err := a.dial().Append(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, restart := range []func(){func() {}, a.kill, a.stop} {
		restart()
		if a.ended() {
			a.start()
		}
		got, err := a.dial().Append(t.Context(), r)
		if err != nil || !got.Duplicate || got.FirstOffset != first.FirstOffset || got.Count != 5 {
			t.Errorf("got %v, %v, want a duplicate of offset %d", got, err, first.FirstOffset)
		}
	}
	if got := a.stream("s").Appended.Events; got != 5 {
		t.Errorf("got %d events stored, want 5", got)
	}
}

func TestAck_DeliveredMeansDelivered(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination)+streamBlock("away", unreachable(t)))
	client := a.dial()
	sent := readings(33, 100)
	r := request("s", sent...)
	r.Ack = standpipev1.Ack_ACK_DELIVERED
	got, err := client.Append(t.Context(), r)
	if err != nil || got.Ack != standpipev1.Ack_ACK_DELIVERED {
		t.Fatalf("got %v, %v, want ack delivered", got, err)
	}
	owing(sent).expectWhole(t, "local", delivered(t, a.path("out"), "sensor", false), 0)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r = request("away", sent...)
	r.Ack = standpipev1.Ack_ACK_DELIVERED
	if got, err := client.Append(ctx, r); err == nil {
		t.Errorf("got %v for a destination that nobody answers for, want no ack", got)
	}
}

func TestHealth(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	for _, address := range []string{a.grpc, "unix://" + a.path("grpc.sock")} {
		client := healthpb.NewHealthClient(a.connection(address))
		for _, service := range []string{"", standpipev1.Ingest_ServiceDesc.ServiceName} {
			got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("%s, service %q: got %v, %v, want SERVING", address, service, got, err)
			}
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if err := a.expectCode(path, 200); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]os.FileMode{"data": 0o700 | os.ModeDir} {
		info, err := os.Stat(a.path(name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}
