package otlp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// retryable reports whether an OTLP exporter sends a request again after s: after RESOURCE_EXHAUSTED only with RetryInfo.
func retryable(s *status.Status) bool {
	delay := false
	for _, d := range s.Details() {
		_, ok := d.(*errdetails.RetryInfo)
		delay = delay || ok
	}
	return s.Code() == codes.Unavailable || s.Code() == codes.ResourceExhausted && delay
}

// TestOTLP_TooLargeIsNotRetryable: an exporter would send the same request for ever.
func TestOTLP_TooLargeIsNotRetryable(t *testing.T) {
	const limit = 64 << 10
	m := ingestkit.Exported()
	m.ResourceLogs[0].Resource.Attributes = append(m.ResourceLogs[0].Resource.Attributes, ingestkit.Attribute("x", strings.Repeat("x", limit)))
	options := ingest.Options{Log: ingestkit.NewLog(t), MaxRequestSize: limit, OTLP: &ingest.OTLPOptions{Stream: "bytes"}}
	options.Type = ingest.GRPC
	conn := ingestkit.Dial(t, ingestkit.Serve(t, options).Addr())
	for name, o := range map[string][]grpc.CallOption{"plain": nil, "gzip": {grpc.UseCompressor(gzip.Name)}} {
		got := status.Convert(conn.Invoke(t.Context(), ingestkit.Export, m, &emptypb.Empty{}, o...))
		if got.Code() != codes.ResourceExhausted || retryable(got) {
			t.Errorf("over gRPC, %s: got %v, retryable %v, want RESOURCE_EXHAUSTED without RetryInfo", name, got, retryable(got))
		}
	}
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got := ingestkit.ServeHTTP(t, options).Do("POST", "/v1/logs", string(body), "Content-Type: application/x-protobuf")
	if got.Status != http.StatusRequestEntityTooLarge || got.Header.Get("Retry-After") != "" {
		t.Errorf("over HTTP: got %d, Retry-After %q, want 413 without one", got.Status, got.Header.Get("Retry-After"))
	}
}

// TestOTLP_DrainIsRetryableOverGRPC: a request that has begun when the listener drains is sent again to the next agent.
func TestOTLP_DrainIsRetryableOverGRPC(t *testing.T) {
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t), OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	conn := ingestkit.Dial(t, s.Addr())
	begun, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, ingestkit.Export)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Invoke(t.Context(), ingestkit.Export, ingestkit.Exported(), &emptypb.Empty{}); err != nil { // its headers come after those of begun
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }()
	conn.WaitForStateChange(t.Context(), connectivity.Ready) // GOAWAY has come
	begun.SendMsg(ingestkit.Exported())
	begun.CloseSend()
	got := status.Convert(begun.RecvMsg(&emptypb.Empty{}))
	if got.Code() != codes.Unavailable || !strings.Contains(got.Message(), "shutting down") || !retryable(got) {
		t.Errorf("got %v with %v, want UNAVAILABLE", got, got.Details())
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestOTLP_DrainIsRetryableOverHTTP, whether the rest of a body still arrives or not.
func TestOTLP_DrainIsRetryableOverHTTP(t *testing.T) {
	body, err := proto.Marshal(ingestkit.Exported())
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range []bool{true, false} {
		w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
		conn := w.Raw(fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"+
			"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:1]))
		if got := ingestkit.StatusOn(t, conn); got != 100 {
			t.Fatalf("got %d, want 100 once the body is read", got)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- w.Server.Stop(t.Context()) }()
		for { // until the listener drains
			c, err := net.Dial(w.Server.Addr().Network(), w.Server.Addr().String())
			if err != nil {
				break
			}
			c.Close()
		}
		if whole {
			conn.Write(body[1:])
		}
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(got.Body)
		var s spb.Status
		if err := proto.Unmarshal(text, &s); err != nil || codes.Code(s.Code) != codes.Unavailable {
			t.Errorf("got %q, want a status of UNAVAILABLE", text)
		}
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("got %d, Retry-After %q, want 503 with one", got.StatusCode, got.Header.Get("Retry-After"))
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
}
