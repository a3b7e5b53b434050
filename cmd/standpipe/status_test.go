package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

var (
	started = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	asked   = started.Add(3*time.Hour + 2*time.Minute)
)

func sampleStatus() admin.Status {
	return admin.Status{
		Agent: admin.AgentStatus{
			ID: "01JD0000000000000000000000", NodeName: "gateway-17", Version: "0.1.0", State: "running",
			StartedAt: admin.Time{Time: started},
		},
		WAL: admin.WALStatus{Bytes: 6 << 30, MaxBytes: 8 << 30, Segments: 97},
		Streams: []admin.StreamStatus{{
			Name: "clicks", FirstOffset: 1, NextOffset: 12345679,
			Appended: admin.Volume{Events: 12345678, Bytes: 5120000},
			Destinations: []admin.DestinationStatus{
				{Type: "kinesis", Name: "live", State: admin.Running, Delivered: admin.Volume{Events: 12345678}},
				{
					Type: "firehose", Name: "archive-of-everything", State: admin.Blocked,
					Delivered: admin.Volume{Events: 9000}, Dead: admin.Events{Events: 3},
					Pending: admin.Pending{Events: 12336675, Bytes: 512000, OldestSeconds: 7500},
					LastError: "ResourceNotFoundException: Firehose archive-of-everything under account 123456789012 not found, " +
						"or it is being deleted",
					RetryAt: admin.Time{Time: asked.Add(12 * time.Second)},
				},
				{
					Type: "kinesis", Name: "hot", State: admin.Running, Delivered: admin.Volume{Events: 12345670},
					Pending:  admin.Pending{Events: 8, Bytes: 512, OldestSeconds: 2},
					WaitsFor: "paced", PaceBytes: 4_000_000, Shards: 4,
				},
			},
		}, {Name: "idle"}},
	}
}

func TestStatusTable(t *testing.T) {
	var got bytes.Buffer
	if err := writeStatus(&got, sampleStatus(), asked); err != nil {
		t.Fatal(err)
	}
	want := `agent  gateway-17, running for 3h 2m, standpipe 0.1.0, log
       01JD0000000000000000000000
wal    6.0 GiB of 8.0 GiB in use (75 %), 97 segments

stream clicks: 12,345,678 appended (4.9 MiB), 0 refused
  destination          state      pending   oldest  delivered     dead  dropped
  kinesis live         running          0        - 12,345,678        0        0
  firehose archive-of-everything
                       blocked      12.3M    2h 5m      9,000        3        0
    last error: ResourceNotFoundException: Firehose archive-of-everything under
    account 123456789012 not found, or it is being deleted; retry at 2026-11-20
    15:02:12 UTC (in 12s)
  kinesis hot          running          8     2.0s 12,345,670        0        0
    paced, 4 shards, pace 4.0 MB/s

stream idle: 0 appended (0 B), 0 refused
  no destination
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
	for _, line := range strings.Split(got.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("got %d columns: %s", n, line)
		}
	}
}

func TestStatusTable_OfAFailedLog(t *testing.T) {
	var got bytes.Buffer
	status := admin.Status{WAL: admin.WALStatus{Failed: "sync segment 3: input/output error"}}
	if err := writeStatus(&got, status, asked); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"       failed: sync segment 3: input/output error\n", "no stream has had an event yet\n"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("got %q, want %q in it", &got, want)
		}
	}
}

func TestStatusTable_EscapesNames(t *testing.T) {
	const hostile = "\x1b[2J\x07\r\u202ename\xff"
	status := sampleStatus()
	status.Agent.NodeName = hostile
	status.Streams[0].Name = hostile
	d := &status.Streams[0].Destinations[0]
	d.Name, d.LastError, d.State = hostile, hostile, hostile
	var got bytes.Buffer
	if err := writeStatus(&got, status, asked); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(got.String(), "\x1b\x07\r\u202e") {
		t.Errorf("got a control character in %q", &got)
	}
}

func TestStatus_Identities(t *testing.T) {
	at := func(ago time.Duration) admin.Time { return admin.Time{Time: asked.Add(-ago)} }
	s := admin.Status{Access: admin.AccessStatus{
		Identities: []admin.IdentityStatus{{}, {
			Name: "metering", Appended: admin.Volume{Events: 12345678, Bytes: 5120000}, LastAppendAt: at(3 * time.Second),
			Refused:     admin.RefusedEvents{Events: 1015, Reasons: map[string]uint64{"rate": 1010, "forbidden": 5}},
			LastRefusal: admin.Refusal{At: at(12 * time.Second), Why: `identity "metering" may not write to stream "clicks"`},
		}, {Name: "an-identity-with-a-long-name"}},
		Unknown: admin.UnknownStatus{Requests: 1, LastRefusal: admin.Refusal{
			At: at(time.Hour), Why: "the token is not known here\x1b[2J", From: "192.0.2.7:4711",
		}},
	}}
	var got bytes.Buffer
	if err := writeStatus(&got, s, asked); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(got.String(), "no stream has had an event yet\n\n")
	want := `identity                   appended      bytes   refused  last append
  (listeners' tokens)             0        0 B         0  never
  metering               12,345,678    4.9 MiB     1,015  3.0s ago
    5 forbidden, 1,010 rate; last refused 12s ago: identity "metering" may not
    write to stream "clicks"
  an-identity-with-a-long-name
                                  0        0 B         0  never
unknown callers: 1 request rejected
    last refused 1h 0m ago, from 192.0.2.7:4711: the token is not known here�[2J
`
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
}

func TestShort(t *testing.T) {
	tests := []struct {
		n     uint64
		width int
		want  string
	}{
		{0, 8, "0"}, {999999, 8, "999,999"}, {1000000, 8, "1.0M"}, {9999999, 9, "9,999,999"},
		{12345678, 9, "12.3M"}, {98765432109, 9, "98.8G"},
	}
	for _, test := range tests {
		if got := cli.Short(test.n, test.width); got != test.want {
			t.Errorf("short(%d, %d): got %q, want %q", test.n, test.width, got, test.want)
		}
	}
}

// answering serves body at /v1/status.
func answering(t *testing.T, body string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(body)) })
	s := httptest.NewUnstartedServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestStatus_OverTCP(t *testing.T) {
	body, err := json.Marshal(sampleStatus())
	if err != nil {
		t.Fatal(err)
	}
	s := answering(t, string(body))
	s.Start()
	address := s.Listener.Addr().String()
	got := runWith("status", "--json", "--address", address)
	if want := (outcome{0, string(body), ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got = runWith("status", "--address", address)
	if got.code != 0 || !strings.HasPrefix(got.stdout, "agent  gateway-17, running") {
		t.Errorf("got %+v, want the table", got)
	}
}

func TestStatus_OverASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := answering(t, "{ \"as\": \"it is\" }\n")
	s.Listener.Close()
	s.Listener = l
	s.Start()
	got := runWith("status", "--json", "--address", "unix://"+path)
	if want := (outcome{0, "{ \"as\": \"it is\" }\n", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestStatus_WithoutAnAgent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, address := range []string{address, "unix://" + filepath.Join(t.TempDir(), "none.sock")} {
		got := runWith("status", "--address", address)
		if got.code != 1 || got.stdout != "" || !strings.HasPrefix(got.stderr, "standpipe: no response from the agent at "+address+": ") {
			t.Errorf("got %+v, want exit code 1 and who does not answer", got)
		}
	}
}

func TestStatus_OfAnotherServer(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	got := runWith("status", "--address", other.Listener.Addr().String())
	if got.code != 1 || !strings.Contains(got.stderr, "answers 404 Not Found: ") {
		t.Errorf("got %+v", got)
	}
	text := answering(t, "hello")
	text.Start()
	got = runWith("status", "--address", text.Listener.Addr().String())
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "read the status of the agent at") {
		t.Errorf("got %+v", got)
	}
}
