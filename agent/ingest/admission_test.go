package ingest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/access"
	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// tokens is a guard that takes who shows the token.
func tokens(t *testing.T, token string) *access.Guard {
	t.Helper()
	return newGuard(t, access.NewRegister(hclog.NewNullLogger()), writeToken(t, token))
}

func writeToken(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newGuard(t *testing.T, r *access.Register, tokens string) *access.Guard {
	t.Helper()
	g, err := access.NewGuard(r, tokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// ours is an identity that this process has on a unix socket.
func ours(t *testing.T, i access.Identity) (*access.Guard, *access.Register) {
	t.Helper()
	i.Name, i.UIDs = "ours", []int64{int64(os.Getuid())}
	r := access.NewRegister(hclog.NewNullLogger())
	if err := r.Set([]access.Identity{i}); err != nil {
		t.Fatal(err)
	}
	return newGuard(t, r, writeToken(t, "master")), r
}

const foreign = `identity "ours" may not write to stream "bytes"`

func TestStreamsOfAnIdentityOverGRPC(t *testing.T) {
	log, seen := newFakeLog(t), &counts{}
	g, register := ours(t, access.Identity{Streams: []string{"te*"}})
	_, client := serveGRPC(t, ingest.Options{Log: log, Observer: seen, Guard: g})
	if _, err := client.Append(t.Context(), appendOf("text", "a")); err != nil {
		t.Error(err)
	}
	_, err := client.Append(t.Context(), appendOf("bytes", "b"))
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != foreign {
		t.Errorf("got %v", err)
	}
	master := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer master")
	if _, err := client.Append(master, appendOf("bytes", "c")); err != nil {
		t.Error(err)
	}

	s, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*standpipev1.AppendRequest{appendOf("text", "d"), appendOf("bytes", "e"), appendOf("text", "f")} {
		s.Send(m)
	}
	replies, err := receiveAll(s)
	if len(replies) != 1 || status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %d replies and %v, want 1 and PermissionDenied", len(replies), err)
	}

	open, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Send(appendOf("text", "g")); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := register.Set(nil); err != nil {
		t.Fatal(err)
	}
	open.Send(appendOf("text", "h"))
	if _, err := open.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream of an identity that is gone: got %v", err)
	}
	expectStored(t, log, "a", "c", "d", "g")
	if _, refused := seen.get(); refused["/forbidden"] != 2 || refused["/unauthenticated"] != 1 {
		t.Errorf("got %v", refused)
	}
}

func expectStored(t *testing.T, log *fakeLog, want ...string) {
	t.Helper()
	got := log.stored()
	if len(got) != len(want) {
		t.Fatalf("stored %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("stored %q, want %q", got, want)
		}
	}
}

func TestStreamsOfAnIdentityOverHTTP(t *testing.T) {
	log := newFakeLog(t)
	g, _ := ours(t, access.Identity{Streams: []string{"text"}})
	w := serveHTTP(t, ingest.Options{Log: log, Guard: g, OTLP: &ingest.OTLPOptions{Stream: "bytes"},
		HTTP: ingest.HTTPOptions{Pixels: []ingest.Pixel{{Path: "/p", Stream: "bytes", Key: "k"}}}})
	if got := w.post("text?key=k", "a"); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := w.post("bytes?key=k", "b"); got.status != 403 || got.Error != foreign || got.Code != "PERMISSION_DENIED" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := w.do("GET", "/p?k=1", ""); got.status != 403 {
		t.Errorf("a pixel: got %d %s", got.status, got.body)
	}
	logs := "\x0a\x06\x12\x04\x12\x02\x18\x01" // one record
	if got := w.do("POST", "/v1/logs", logs, "Content-Type: application/x-protobuf"); got.status != 403 {
		t.Errorf("OTLP: got %d %q", got.status, got.body)
	}
	if got := w.post("bytes?key=k", "c", "Authorization: Bearer master"); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	expectStored(t, log, "a", "c")
}

func TestStreamsOfAnIdentityOnASocket(t *testing.T) {
	log := newFakeLog(t)
	g, register := ours(t, access.Identity{Streams: []string{"text"}})
	server, p := serveSocket(t, ingest.Options{Log: log, Guard: g})
	line := func(stream string) string { return `{"stream":"` + stream + `","key":"k","data":1}` + "\n" }
	p.send(line("text") + line("bytes") + line("text"))
	p.expect(`{"offset":1}`)
	p.expect(`{"error":"identity \"ours\" may not write to stream \"bytes\"","code":"PERMISSION_DENIED"}`)
	p.expect(`{"offset":2}`)
	master := connect(t, server.Addr())
	master.send(`{"token":"master"}` + "\n" + line("bytes"))
	master.expect(`{"offset":3}`)
	if err := register.Set(nil); err != nil {
		t.Fatal(err)
	}
	p.send(line("text"))
	p.expect(`{"error":"no token is shown, and no identity that may send here has the process's uid ` + uidAndGid() +
		` any more","code":"UNAUTHENTICATED"}`)
	master.send(line("bytes"))
	master.expect(`{"offset":4}`)
}

func TestPaceOfAnIdentity(t *testing.T) {
	log, seen := newFakeLog(t), &counts{}
	// so slow that taken tokens do not come back while the test runs
	g, _ := ours(t, access.Identity{MaxEvents: 3, MaxBytes: 4})
	_, client := serveGRPC(t, ingest.Options{Log: log, Observer: seen, Guard: g})
	w := serveHTTP(t, ingest.Options{Log: log, Observer: seen, Guard: g})
	_, socket := serveSocket(t, ingest.Options{Log: log, Observer: seen, Guard: g})

	// more than a second's worth, which leaves an hour to make up for
	if got := w.post("bytes?key=k", string(make([]byte, 4*3600))); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	const slower = `identity "ours" sends faster than it may: nothing of this request was stored`
	_, err := client.Append(t.Context(), appendOf("bytes", "a"))
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted || s.Message() != slower || retryDelay(s) < 50*time.Minute {
		t.Errorf("got %v, %s", err, retryDelay(s))
	}
	if got := w.post("bytes?key=k", "b"); got.status != 429 || got.Error != slower || len(got.header.Get("Retry-After")) != 4 {
		t.Errorf("got %d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
	}
	socket.send(`{"stream":"bytes","key":"k","data":1}` + "\n")
	if got := socket.response(); !strings.HasPrefix(got, `{"error":"identity \"ours\" sends faster `) || !strings.Contains(got, `"retry_after":"59m59`) {
		t.Errorf("got %s", got)
	}
	if got := w.post("bytes?key=k", "c", "Authorization: Bearer master"); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := len(log.stored()); got != 2 {
		t.Errorf("stored %d events, want 2", got)
	}
	if _, refused := seen.get(); refused["bytes/rate"] != 3 {
		t.Errorf("got %v", refused)
	}
}

// The stored requests of an AppendStream that exceeds its rate are exactly those with a response.
func TestPaceOfAStream(t *testing.T) {
	log := newFakeLog(t)
	g, _ := ours(t, access.Identity{MaxBytes: 1})
	_, client := serveGRPC(t, ingest.Options{Log: log, Guard: g})
	s, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"a", "bb", "", "c"} {
		s.Send(appendOf("bytes", data))
	}
	replies, err := receiveAll(s)
	if len(replies) != 1 || status.Code(err) != codes.ResourceExhausted || retryDelay(status.Convert(err)) == 0 {
		t.Errorf("got %d replies and %v, want 1 and ResourceExhausted", len(replies), err)
	}
	expectStored(t, log, "a")
}

func uidAndGid() string {
	return fmt.Sprintf("%d, gid %d or another of its groups", os.Getuid(), os.Getgid())
}

// retryDelay returns the retry delay of a status.
func retryDelay(s *status.Status) time.Duration {
	for _, detail := range s.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
