package agent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/draw"
)

// open returns how many streams have a destination that is shipped to.
func open(a *agent.Agent) (n int) {
	for _, s := range a.Status().Streams {
		if slices.ContainsFunc(s.Destinations, func(d admin.DestinationStatus) bool { return d.State != admin.Parked && d.State != admin.Waiting }) {
			n++
		}
	}
	return n
}

// codeOf appends events with data to a stream and returns the answer's code.
func codeOf(t *testing.T, client standpipev1.IngestClient, stream, key string, data ...string) codes.Code {
	t.Helper()
	r := &standpipev1.AppendRequest{Stream: stream}
	for _, d := range data {
		r.Events = append(r.Events, &standpipev1.Event{PartitionKey: key, Data: []byte(d)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := client.Append(ctx, r)
	return status.Code(err)
}

// A rejected request uses up none of the streams that a pattern may have and leaves no destination behind, for every
// reason to reject it.
func TestStream_RejectedRequestsOpenNone(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, `
wal {
  max_size     = "4MiB"
  segment_size = "1MiB"
}
stream "s-*" {
  max_streams    = 4
  max_event_size = "1KiB"
  destination "file" "one" { path = "DIR/out" }
}
stream "stuck" {
  max_event_size = "1MiB"
  destination "file" "one" { path = "DIR/LOCK" }
}`)
	a := run(t, conf)
	client := dial(t, conf)
	large := `"` + strings.Repeat("x", 2000) + `"`
	seed := draw.Seed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 100 {
		data, key := []string{"1", "2", "3"}, "k"
		switch random.IntN(4) {
		case 0:
			data[random.IntN(len(data))] = "not json"
		case 1:
			data[random.IntN(len(data))] = large
		case 2:
			key = strings.Repeat("k", 257)
		case 3:
			data = nil
		}
		if got := codeOf(t, client, fmt.Sprint("s-", i), key, data...); got != codes.InvalidArgument {
			t.Fatalf("got %v, want InvalidArgument", got)
		}
	}
	until(t, "nothing is left of what was rejected", func() bool { return open(a) == 1 && len(a.Status().Streams) == 1 })
	for i := range 3 {
		if got := codeOf(t, client, fmt.Sprint("s-", i), "k", "1"); got != codes.OK {
			t.Errorf("got %v for new stream %d of 4, want OK", got, i+1)
		}
	}
	until(t, "they are open", func() bool { return open(a) == 4 })
	for size := 200 << 10; size > 0; size /= 2 { // until there is no room for a small one either
		for data := `"` + strings.Repeat("x", size) + `"`; codeOf(t, client, "stuck", "k", data) == codes.OK; {
		}
	}
	for i := range 20 {
		if got := codeOf(t, client, fmt.Sprint("s-full", i), "k", strings.Repeat(" ", 1000)+"1"); got != codes.ResourceExhausted {
			t.Fatalf("a full log: got %v, want ResourceExhausted", got)
		}
	}
	until(t, "nothing is left of what a full log rejected", func() bool { return open(a) == 4 && len(a.Status().Streams) == 4 })
}

// However many producers begin new streams at once, a pattern makes exactly as many as it may, and each that was
// acked is shipped.
func TestStream_LimitHoldsForRequestsAtOnce(t *testing.T) {
	const most, names, each = 7, 40, 3
	conf := parse(t, t.TempDir(), fmt.Sprintf(`
stream "s-*" {
  max_streams = %d
  destination "file" "one" {
    path = "DIR/out"
    batch { max_delay = "10ms" }
  }
}`, most))
	a := run(t, conf)
	client := dial(t, conf)
	var mu sync.Mutex
	acked := make(map[string]uint64)
	var group sync.WaitGroup
	for n := range names * each {
		group.Go(func() {
			name := fmt.Sprint("s-", n%names)
			if codeOf(t, client, name, "k", "1") == codes.OK {
				mu.Lock()
				acked[name]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if got := len(acked); got != most {
		t.Errorf("got %d streams, want %d", got, most)
	}
	for name, events := range acked {
		until(t, name+" is delivered", func() bool { return destination(t, a, name, "one").Delivered.Events == events })
	}
}

// A stream whose first event waits for a full log is in no status: it may end with that event, and each name in a status
// has metrics from then on.
func TestStatus_LeavesOutAStreamBeforeItsFirstEvent(t *testing.T) {
	dir := t.TempDir()
	conf := func(onFull string) string {
		return `
wal {
  max_size     = "4MiB"
  segment_size = "1MiB"
  on_full      = "` + onFull + `"
}
stream "s-*" {
  destination "file" "one" { path = "DIR/out" }
}
stream "stuck" {
  max_event_size = "1MiB"
  destination "file" "one" { path = "DIR/LOCK" }
}`
	}
	c := parse(t, dir, conf("reject"))
	a := run(t, c)
	client := dial(t, c)
	for size := 200 << 10; size > 0; size /= 2 {
		for data := `"` + strings.Repeat("x", size) + `"`; codeOf(t, client, "stuck", "k", data) == codes.OK; {
		}
	}
	reloaded(t, a, parse(t, dir, conf("block")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const waiting = 5
	var group sync.WaitGroup
	for i := range waiting {
		group.Go(func() {
			event := &standpipev1.Event{PartitionKey: "k", Data: []byte(strings.Repeat(" ", 1000) + "1")}
			_, err := client.Append(ctx, &standpipev1.AppendRequest{Stream: fmt.Sprint("s-", i), Events: []*standpipev1.Event{event}})
			if status.Code(err) != codes.Canceled {
				t.Errorf("got %v, want Canceled", err)
			}
		})
	}
	until(t, "the streams are tentative", func() bool { return a.TentativeStreams() == waiting })
	if got := a.Status().Streams; len(got) != 1 {
		t.Errorf("got %d streams in the status, want 1", len(got))
	}
	cancel()
	group.Wait()
	until(t, "nothing is left of them", func() bool { return a.TentativeStreams() == 0 && open(a) == 1 })
}

// A reload makes the rules of a stream stricter. A producer that repeats a batch that was stored before gets its ack; a new
// batch is rejected.
func TestStream_RepeatedBatchIsAckedAlsoByStricterRules(t *testing.T) {
	dir := t.TempDir()
	conf := func(rules string) string {
		return "stream \"s\" {\n" + rules + "\n  destination \"file\" \"one\" { path = \"DIR/out\" }\n}"
	}
	c := parse(t, dir, conf(`  format = "text"`))
	a := run(t, c)
	client := dial(t, c)
	request := func(sequence uint64, ack standpipev1.Ack) *standpipev1.AppendRequest {
		return &standpipev1.AppendRequest{
			Stream: "s", ProducerId: "p", ProducerSequence: sequence, Ack: ack,
			Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte(strings.Repeat("no JSON ", 100))}},
		}
	}
	if _, err := client.Append(t.Context(), request(1, 0)); err != nil {
		t.Fatal(err)
	}
	for _, rules := range []string{`  format = "json"`, "  format = \"text\"\n  max_event_size = \"100B\""} {
		reloaded(t, a, parse(t, dir, conf(rules)))
		for _, ack := range []standpipev1.Ack{standpipev1.Ack_ACK_UNSPECIFIED, standpipev1.Ack_ACK_ACCEPTED} {
			r, err := client.Append(t.Context(), request(1, ack))
			if err != nil || !r.GetDuplicate() || r.GetFirstOffset() != 1 {
				t.Errorf("got %v, %v of the stored batch, want its offset", r, err)
			}
			if _, err := client.Append(t.Context(), request(2, ack)); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "event 0: data") {
				t.Errorf("got %v of a new batch, want InvalidArgument", err)
			}
		}
	}
	if got := a.Status().Streams[0].Appended.Events; got != 1 {
		t.Errorf("got %d events, want 1", got)
	}
}
