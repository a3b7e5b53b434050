package grpcin_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// A relay numbers its events by their offsets, some of which are left out.
func TestProducer_LeavesOutSequences(t *testing.T) {
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingest.FromWAL(testkit.OpenLog(t, wal.Options{}))})
	for _, c := range []struct {
		sequence, next uint64
		first          uint64
		duplicate      bool
		expected       string
	}{
		{5, 8, 1, false, ""}, {20, 25, 4, false, ""}, {20, 25, 0, true, ""}, {23, 30, 0, false, "25"}, {25, 30, 7, false, ""},
	} {
		m := ingestkit.Request("text", "a", "b", "c")
		m.ProducerId, m.ProducerSequence, m.ProducerNext = "log/s/d", c.sequence, c.next
		r, err := client.Append(t.Context(), m)
		if got := nextSequence(err); got != c.expected || (err != nil) != (c.expected != "") {
			t.Errorf("[%d, %d): got %v with next_sequence %q, want %q", c.sequence, c.next, err, got, c.expected)
		}
		if r.GetFirstOffset() != c.first || r.GetDuplicate() != c.duplicate {
			t.Errorf("[%d, %d): got %v", c.sequence, c.next, r)
		}
	}
}

// nextSequence returns the metadata of a rejected sequence.
func nextSequence(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Reason == "SEQUENCE" {
			return info.Metadata["next_sequence"]
		}
	}
	return ""
}

// arrivals rejects paths that name this agent.
type arrivals struct {
	mu   sync.Mutex
	seen []string
}

func (a *arrivals) Arrived(stream, path string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, stream+": "+path)
	if strings.Contains(path, "this/") {
		return errors.New("in a loop")
	}
	return nil
}

func TestRelay_PathOfARequestIsChecked(t *testing.T) {
	relays, log := new(arrivals), ingestkit.NewLog(t)
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Relays: relays})
	if _, err := client.Append(t.Context(), ingestkit.Request("text", "of a producer")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]codes.Code{"1 other/text": codes.OK, "2 this/text other/text": codes.FailedPrecondition} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "standpipe-path", path)
		_, err := client.Append(ctx, ingestkit.Request("text", "x"))
		if status.Code(err) != want {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
		s, err := client.AppendStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(ingestkit.Request("text", "x")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); status.Code(err) != want {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
		s.CloseSend()
	}
	if len(relays.seen) != 4 || !strings.HasPrefix(relays.seen[0], "text: ") {
		t.Errorf("got %q", relays.seen)
	}
	if got := log.Stored(); len(got) != 3 {
		t.Errorf("stored %q", got)
	}
}
