package ingest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

// ways returns a function for every type of listener. It sends an event with attributes over the listener, and returns
// "stored" or the rejection's text.
func ways(t *testing.T, o ingest.Options) map[string]func(stream, data string, attributes map[string]string) string {
	t.Helper()
	_, client := ingestkit.ServeGRPC(t, o)
	web := ingestkit.ServeHTTP(t, o)
	_, socket := ingestkit.ServeSocket(t, o)
	return map[string]func(stream, data string, attributes map[string]string) string{
		"grpc": func(stream, data string, attributes map[string]string) string {
			m := ingestkit.Request(stream, data)
			m.Events[0].Attributes = attributes
			if _, err := client.Append(t.Context(), m); err != nil {
				return status.Convert(err).Message()
			}
			return "stored"
		},
		"http": func(stream, data string, attributes map[string]string) string {
			var headers []string
			for name, value := range attributes {
				headers = append(headers, "X-Attribute-"+name+": "+value)
			}
			if got := web.Post(stream+"?key=k", data, headers...); got.Status != http.StatusOK {
				return got.Error
			}
			return "stored"
		},
		"socket": func(stream, data string, attributes map[string]string) string {
			line, err := json.Marshal(map[string]any{"stream": stream, "key": "k", "data": data, "attributes": attributes})
			if err != nil {
				t.Fatal(err)
			}
			socket.Send(string(line) + "\n")
			var reply struct{ Error string }
			if err := json.Unmarshal([]byte(socket.Response()), &reply); err != nil {
				t.Fatal(err)
			}
			if reply.Error != "" {
				return reply.Error
			}
			return "stored"
		},
	}
}

func TestMaxEventSize_CountsAttributes(t *testing.T) {
	send := ways(t, ingest.Options{Log: ingestkit.NewLog(t)})
	r := rand.New(rand.NewPCG(2, 9))
	for range 30 {
		attributes, used := make(map[string]string), 0
		for i := range 1 + r.IntN(5) {
			name, value := fmt.Sprintf("n%d-%s", i, strings.Repeat("a", r.IntN(20))), strings.Repeat("v", r.IntN(150))
			attributes[name] = value
			used += len(name) + len(value)
		}
		for over, want := range map[int]string{
			0: "stored",
			1: fmt.Sprintf("event 0: data has %d bytes and the attributes %d; max_event_size allows 1000 together", 1001-used, used),
		} {
			for listener, send := range send {
				if got := send("text", strings.Repeat("d", 1000-used+over), attributes); got != want && "event 0: "+got != want {
					t.Errorf("%s, %d bytes too many: got %q, want %q", listener, over, got, want)
				}
			}
		}
	}
}

// An envelope holds attributes too, so a destination's limit for the data depends on them, over every listener.
func TestRoom_IsAskedWithTheAttributes(t *testing.T) {
	streams := ingestkit.Streams{"enveloped": {Format: ingest.FormatBytes, Room: func(e *wal.Event) (int, string) {
		limit := 100
		for name, value := range e.Attributes {
			limit -= 6 * (len(name) + len(value))
		}
		return limit, `kinesis "live"`
	}}}
	for listener, send := range ways(t, ingest.Options{Log: ingestkit.NewLog(t), Streams: streams}) {
		for value, fits := range map[string]bool{"": true, "1234567890": true, "12345678901234567890": false} {
			if got := send("enveloped", "ten bytes!", map[string]string{"a": value}); (got == "stored") != fits {
				t.Errorf("%s, an attribute of %d bytes: got %q", listener, len(value), got)
			}
		}
	}
}

func TestPace_CountsAttributes(t *testing.T) {
	// so slow that the pace restores nothing while the test runs
	g, _ := accesstest.Own(t, access.Identity{MaxBytes: 10})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t), Guard: g})
	m := ingestkit.Request("bytes", "")
	m.Events[0] = &standpipev1.Event{PartitionKey: "k", Attributes: map[string]string{"a": strings.Repeat("v", 10*3600)}}
	if _, err := client.Append(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Append(t.Context(), ingestkit.Request("bytes", "x")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("after an hour's worth of attributes: got %v", err)
	}
}
