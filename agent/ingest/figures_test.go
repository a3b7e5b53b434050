package ingest_test

import (
	"maps"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// expectFigures compares the counts of "ours" and of the own token of the listener.
func expectFigures(t *testing.T, r *access.Register, ours, own access.Figures, unknown uint64) {
	t.Helper()
	known, strangers := r.Figures()
	for i, want := range []access.Figures{own, ours} {
		if got := known[i]; got.Events != want.Events || got.Bytes != want.Bytes || !maps.Equal(got.Refused, want.Refused) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if strangers.Requests != unknown {
		t.Errorf("got %+v, want %d", strangers, unknown)
	}
}

func TestFigures_OverGRPC(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Refuse[2] = wal.ErrFull
	g, register := accesstest.Own(t, access.Identity{Streams: []string{"text"}})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Guard: g})
	as := func(token string, m *standpipev1.AppendRequest) {
		ctx := t.Context()
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		client.Append(ctx, m)
	}
	as("", ingestkit.Request("text", "ab", "cd"))
	as("", ingestkit.Request("bytes", "x", "y")) // forbidden
	as("", ingestkit.Request("text", "a\nb"))    // not of the format
	as("master", ingestkit.Request("bytes", "abc"))
	as("", ingestkit.Request("text", "full"))
	as("guess", ingestkit.Request("text", "x"))
	s, err := client.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Send(ingestkit.Request("text", "e"))
	s.Send(ingestkit.Request("none", "f")) // forbidden
	if _, err := ingestkit.ReceiveAll(s); err == nil {
		t.Error("the stream goes on")
	}
	expectFigures(t, register,
		access.Figures{Events: 3, Bytes: 5, Refused: map[string]uint64{"forbidden": 3, "format": 1, "full": 1}}, access.Figures{Events: 1, Bytes: 3}, 1)
}

// TestFigures_OfAckAccepted: events with a response of ack level accepted count once they are stored, or lost.
func TestFigures_OfAckAccepted(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Refuse[1] = wal.ErrFull
	g, register := accesstest.Own(t, access.Identity{})
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Guard: g})
	for _, data := range []string{"ab", "lost", "c"} {
		m := ingestkit.Request("text", data)
		m.Ack = standpipev1.Ack_ACK_ACCEPTED
		if _, err := client.Append(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectFigures(t, register, access.Figures{Events: 2, Bytes: 3, Refused: map[string]uint64{"full": 1}}, access.Figures{}, 0)
}

func TestFigures_OverHTTP(t *testing.T) {
	g, register := accesstest.Own(t, access.Identity{Streams: []string{"text", "none"}})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), Guard: g, MaxRequestSize: 1000})
	w.Post("text?key=k", "abc")
	w.Post("text?key=k", strings.Repeat("x", 1001)) // too large
	w.Post("text", "no key")                        // invalid
	w.Post("bytes?key=k", "x")                      // forbidden
	w.Post("none?key=k", "x")                       // no such stream
	w.Post("bytes?key=k", "abcd", "Authorization: Bearer master")
	w.Post("bytes?key=k", "x", "Authorization: Bearer guess")
	expectFigures(t, register,
		access.Figures{Events: 1, Bytes: 3, Refused: map[string]uint64{"too_large": 1, "invalid": 1, "forbidden": 1, "no_stream": 1}},
		access.Figures{Events: 1, Bytes: 4}, 1)
}

func TestFigures_OnASocket(t *testing.T) {
	g, register := accesstest.Own(t, access.Identity{Streams: []string{"text"}})
	server, p := ingestkit.ServeSocket(t, ingest.Options{Log: ingestkit.NewLog(t), Guard: g})
	p.Send(`{"stream":"text","key":"k","data":"ab"}` + "\n" + "no JSON\n" + `{"stream":"bytes","key":"k","data":1}` + "\n")
	for range 3 {
		p.Response()
	}
	q := ingestkit.Connect(t, server.Addr())
	q.Send(`{"token":"guess"}` + "\n")
	q.Response()
	expectFigures(t, register, access.Figures{Events: 1, Bytes: 2, Refused: map[string]uint64{"invalid": 1, "forbidden": 1}}, access.Figures{}, 1)
}

// TestFigures_ResentEventsCountOnce, on the log itself.
func TestFigures_ResentEventsCountOnce(t *testing.T) {
	g, register := accesstest.Own(t, access.Identity{})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingest.FromWAL(testkit.OpenLog(t, wal.Options{})), Guard: g})
	m := ingestkit.Request("text", "ab")
	m.ProducerId, m.ProducerSequence = "p", 1
	for i := range 3 {
		if r, err := client.Append(t.Context(), m); err != nil || r.Duplicate != (i > 0) {
			t.Errorf("got %v, %v", r, err)
		}
	}
	expectFigures(t, register, access.Figures{Events: 1, Bytes: 2}, access.Figures{}, 0)
}
