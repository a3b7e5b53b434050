package ingest_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
)

const foreign = `identity "ours" may not write to stream "bytes"`

func TestIdentity_StreamsOverGRPC(t *testing.T) {
	log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
	g, register := accesstest.Own(t, access.Identity{Streams: []string{"te*"}})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Observer: seen, Guard: g})
	if _, err := client.Append(t.Context(), ingestkit.Request("text", "a")); err != nil {
		t.Error(err)
	}
	_, err := client.Append(t.Context(), ingestkit.Request("bytes", "b"))
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != foreign {
		t.Errorf("got %v", err)
	}
	master := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer master")
	if _, err := client.Append(master, ingestkit.Request("bytes", "c")); err != nil {
		t.Error(err)
	}

	s, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*standpipev1.AppendRequest{ingestkit.Request("text", "d"), ingestkit.Request("bytes", "e"), ingestkit.Request("text", "f")} {
		s.Send(m)
	}
	replies, err := ingestkit.ReceiveAll(s)
	if len(replies) != 1 || status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %d replies and %v, want 1 and PermissionDenied", len(replies), err)
	}

	open, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Send(ingestkit.Request("text", "g")); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := register.Set(nil); err != nil {
		t.Fatal(err)
	}
	open.Send(ingestkit.Request("text", "h"))
	if _, err := open.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream of an identity that is gone: got %v", err)
	}
	expectStored(t, log, "a", "c", "d", "g")
	if _, refused := seen.Get(); refused["/forbidden"] != 2 || refused["/unauthenticated"] != 1 {
		t.Errorf("got %v", refused)
	}
}

func expectStored(t *testing.T, log *ingestkit.Log, want ...string) {
	t.Helper()
	got := log.Stored()
	if len(got) != len(want) {
		t.Fatalf("stored %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("stored %q, want %q", got, want)
		}
	}
}

func TestIdentity_StreamsOverHTTP(t *testing.T) {
	log := ingestkit.NewLog(t)
	g, _ := accesstest.Own(t, access.Identity{Streams: []string{"text"}})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, Guard: g, OTLP: &ingest.OTLPOptions{Stream: "bytes"},
		HTTP: ingest.HTTPOptions{Pixels: []ingest.Pixel{{Path: "/p", Stream: "bytes", Key: "k"}}}})
	if got := w.Post("text?key=k", "a"); got.Status != 200 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := w.Post("bytes?key=k", "b"); got.Status != 403 || got.Error != foreign || got.Code != "PERMISSION_DENIED" {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := w.Do("GET", "/p?k=1", ""); got.Status != 403 {
		t.Errorf("a pixel: got %d %s", got.Status, got.Body)
	}
	logs := "\x0a\x06\x12\x04\x12\x02\x18\x01" // one record
	if got := w.Do("POST", "/v1/logs", logs, "Content-Type: application/x-protobuf"); got.Status != 403 {
		t.Errorf("OTLP: got %d %q", got.Status, got.Body)
	}
	if got := w.Post("bytes?key=k", "c", "Authorization: Bearer master"); got.Status != 200 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	expectStored(t, log, "a", "c")
}

func TestIdentity_StreamsOnASocket(t *testing.T) {
	log := ingestkit.NewLog(t)
	g, register := accesstest.Own(t, access.Identity{Streams: []string{"text"}})
	server, p := ingestkit.ServeSocket(t, ingest.Options{Log: log, Guard: g})
	line := func(stream string) string { return `{"stream":"` + stream + `","key":"k","data":1}` + "\n" }
	p.Send(line("text") + line("bytes") + line("text"))
	p.Expect(`{"offset":1}`)
	p.Expect(`{"error":"identity \"ours\" may not write to stream \"bytes\"","code":"PERMISSION_DENIED"}`)
	p.Expect(`{"offset":2}`)
	master := ingestkit.Connect(t, server.Addr())
	master.Send(`{"token":"master"}` + "\n" + line("bytes"))
	master.Expect(`{"offset":3}`)
	if err := register.Set(nil); err != nil {
		t.Fatal(err)
	}
	p.Send(line("text"))
	p.Expect(`{"error":"no token is shown, and no identity that may send here has the process's uid ` + uidAndGid() +
		` any more","code":"UNAUTHENTICATED"}`)
	master.Send(line("bytes"))
	master.Expect(`{"offset":4}`)
}

// hoursWait is the wait of almost an hour, on a busy machine too.
var hoursWait = regexp.MustCompile(`"retry_after":"5[0-9]m`)

func TestIdentity_Pace(t *testing.T) {
	log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
	// so slow that taken tokens do not come back while the test runs
	g, _ := accesstest.Own(t, access.Identity{MaxEvents: 3, MaxBytes: 4})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Observer: seen, Guard: g})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, Observer: seen, Guard: g})
	_, socket := ingestkit.ServeSocket(t, ingest.Options{Log: log, Observer: seen, Guard: g})

	// more than a second's worth, which leaves an hour to make up for
	if got := w.Post("bytes?key=k", string(make([]byte, 4*3600))); got.Status != 200 {
		t.Fatalf("got %d %s", got.Status, got.Body)
	}
	const slower = `identity "ours" sends faster than it may: nothing of this request was stored`
	_, err := client.Append(t.Context(), ingestkit.Request("bytes", "a"))
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted || s.Message() != slower || ingestkit.RetryDelay(s) < 50*time.Minute {
		t.Errorf("got %v, %s", err, ingestkit.RetryDelay(s))
	}
	if got := w.Post("bytes?key=k", "b"); got.Status != 429 || got.Error != slower || len(got.Header.Get("Retry-After")) != 4 {
		t.Errorf("got %d %s, Retry-After %q", got.Status, got.Body, got.Header.Get("Retry-After"))
	}
	socket.Send(`{"stream":"bytes","key":"k","data":1}` + "\n")
	if got := socket.Response(); !strings.HasPrefix(got, `{"error":"identity \"ours\" sends faster `) || !hoursWait.MatchString(got) {
		t.Errorf("got %s", got)
	}
	if got := w.Post("bytes?key=k", "c", "Authorization: Bearer master"); got.Status != 200 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := len(log.Stored()); got != 2 {
		t.Errorf("stored %d events, want 2", got)
	}
	if _, refused := seen.Get(); refused["bytes/rate"] != 3 {
		t.Errorf("got %v", refused)
	}
}

// The stored requests of an AppendStream that exceeds its rate are exactly those with a response.
func TestStream_Pace(t *testing.T) {
	log := ingestkit.NewLog(t)
	g, _ := accesstest.Own(t, access.Identity{MaxBytes: 1})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Guard: g})
	s, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"a", "bb", "", "c"} {
		s.Send(ingestkit.Request("bytes", data))
	}
	replies, err := ingestkit.ReceiveAll(s)
	if len(replies) != 1 || status.Code(err) != codes.ResourceExhausted || ingestkit.RetryDelay(status.Convert(err)) == 0 {
		t.Errorf("got %d replies and %v, want 1 and ResourceExhausted", len(replies), err)
	}
	expectStored(t, log, "a")
}

func uidAndGid() string {
	return fmt.Sprintf("%d, gid %d or another of its groups", os.Getuid(), os.Getgid())
}
