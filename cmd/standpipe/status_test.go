package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/test/testkit"
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
		WAL:  admin.WALStatus{Bytes: 6 << 30, MaxBytes: 8 << 30, Segments: 97, WrittenPerDay: 7.8e9, DeviceWrittenPerDay: 8.1e9},
		Link: admin.LinkStatus{PerDay: 45.3e6},
		Streams: []admin.StreamStatus{{
			Name: "clicks", FirstOffset: 1, NextOffset: 12345679,
			Appended: admin.Volume{Events: 12345678, Bytes: 5120000}, AppendRate: admin.Rate{Events: 1234.4, Bytes: 512000},
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
					Type: "kinesis", Name: "hot", State: admin.Running, Delivered: admin.Volume{Events: 12345670}, Rate: admin.Rate{Events: 0.5, Bytes: 200},
					Pending:  admin.Pending{Events: 8, Bytes: 512, OldestSeconds: 2},
					WaitsFor: "paced", PaceBytes: 4_000_000, Shards: 4,
				},
				{Type: "file", Name: "ended", State: admin.Forgotten},
			},
		}, {Name: "idle", Destinations: []admin.DestinationStatus{{Type: "file", Name: "ended", State: admin.Forgotten}}}},
	}
}

func TestStatusTable(t *testing.T) {
	var got bytes.Buffer
	if err := writeStatus(&got, sampleStatus(), asked, cli.Screen{}, false); err != nil {
		t.Fatal(err)
	}
	want := `agent  gateway-17, running for 3h 2m, standpipe 0.1.0, log
       01JD0000000000000000000000
wal    6.0 GiB of 8.0 GiB in use (75 %), 97 segments
disk   the log writes 7.80 GB a day, all programs and the file system 8.10 GB a
       day
link   45.3 MB a day to and from destinations
flow   in 1,234 events/s (500 KiB/s), out 0.5 events/s (200 B/s); 12,336,683
       events pending (501 KiB) at 2 destinations, the oldest for 2h 5m

stream clicks: 12,345,678 appended (4.9 MiB), 0 refused, in 1,234 events/s (500
       KiB/s)
  destination        state     pending  oldest   out/s  delivered   dead dropped
  kinesis live       running         0       -       - 12,345,678      0       0
  firehose archive-of-everything
                     blocked     12.3M   2h 5m       -      9,000      3       0
    last error: ResourceNotFoundException: Firehose archive-of-everything under
    account 123456789012 not found, or it is being deleted; retry at 2026-11-20
    15:02:12 UTC (in 12s)
  kinesis hot        running         8    2.0s     0.5 12,345,670      0       0
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

func TestStatusTable_CatchingUpAndFailing(t *testing.T) {
	status := sampleStatus()
	to := status.Streams[0].Destinations
	to[1].FailingSince = admin.Time{Time: asked.Add(-time.Hour)}
	to[2].CatchingUpSince, to[2].NewestDeliveredSeconds = admin.Time{Time: asked.Add(-time.Minute)}, 95
	var got bytes.Buffer
	if err := writeStatus(&got, status, asked, cli.Screen{}, false); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(got.String()), " ")
	for _, want := range []string{
		"failing since 2026-11-20 14:02:00 UTC; last error: ResourceNotFoundException",
		"paced, 4 shards, pace 4.0 MB/s; catching up since 15:01:00 UTC: 8 events behind, the newest delivered is 1m 35s old",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q", &got, want)
		}
	}
}

func TestStatusTable_OfAFailedLog(t *testing.T) {
	var got bytes.Buffer
	status := admin.Status{WAL: admin.WALStatus{Failed: "sync segment 3: input/output error"}}
	if err := writeStatus(&got, status, asked, cli.Screen{}, false); err != nil {
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
	if err := writeStatus(&got, status, asked, cli.Screen{}, false); err != nil {
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
	if err := writeStatus(&got, s, asked, cli.Screen{}, false); err != nil {
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
	for _, address := range []string{testkit.FreeAddress(t), "unix://" + filepath.Join(t.TempDir(), "none.sock")} {
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
	ingest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":"there is nothing at this path; POST /v1/streams/STREAM stores events","code":"INVALID_ARGUMENT"}`)
	}))
	defer ingest.Close()
	got = runWith("status", "--address", ingest.Listener.Addr().String())
	if got.code != 1 || !strings.Contains(got.stderr, "producers send to this address; this command needs the admin listener, by default 127.0.0.1:7712") {
		t.Errorf("got %+v", got)
	}
	text := answering(t, "hello")
	text.Start()
	got = runWith("status", "--address", text.Listener.Addr().String())
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "read the status of the agent at") {
		t.Errorf("got %+v", got)
	}
}

// Problems stand above everything else, with their remedies.
func TestStatusTable_ProblemsFirst(t *testing.T) {
	status := sampleStatus()
	status.Accepting = admin.Accepting{Reason: "draining", Since: admin.Time{Time: asked.Add(-3 * time.Second)}}
	status.Problems = []admin.Problem{
		{Kind: "blocked", Severity: admin.Critical, Stream: "clicks", Destination: "archive", Since: admin.Time{Time: asked.Add(-time.Hour)}, Text: "blocked with 5 events pending: denied", Remedy: "change the cause"},
		{Kind: "full_soon", Severity: admin.Warning, Since: admin.Time{Time: asked.Add(-time.Minute)}, Text: "the WAL is full in about 9m 0s", Remedy: "raise max_size"},
	}
	var got bytes.Buffer
	if err := writeProblems(&got, status, asked, cli.Screen{}); err != nil {
		t.Fatal(err)
	}
	want := `       events are not accepted: draining for 3.0s
critical blocked: clicks to archive: blocked with 5 events pending: denied, for
         1h 0m
         remedy: change the cause
warning  full_soon: the WAL is full in about 9m 0s, for 1m 0s
         remedy: raise max_size
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
	got.Reset()
	if err := writeStatus(&got, status, asked, cli.Screen{}, false); err != nil {
		t.Fatal(err)
	}
	if text := got.String(); !strings.Contains(text, want+"wal ") {
		t.Errorf("got\n%s\nwant the problems above the WAL", text)
	}
}

// many makes a status of that many streams, each with a running destination.
func many(streams int) admin.Status {
	s := admin.Status{Accepting: admin.Accepting{OK: true}}
	for i := range streams {
		s.Streams = append(s.Streams, admin.StreamStatus{
			Name: fmt.Sprintf("meter-%d", i), Destinations: []admin.DestinationStatus{{Type: "firehose", Name: "archive", State: admin.Running}},
		})
	}
	return s
}

// One cause is one problem, and healthy streams are folded.
func TestStatusTable_OfManyStreams(t *testing.T) {
	s := many(1000)
	for i := range 60 {
		stream := &s.Streams[i]
		stream.Destinations[0] = admin.DestinationStatus{Type: "firehose", Name: "archive", State: admin.Waiting, LastError: "connection refused", Pending: admin.Pending{Events: 10}}
		s.Problems = append(s.Problems, admin.Problem{
			Kind: "behind", Severity: admin.Warning, Stream: stream.Name, Destination: "archive", Since: admin.Time{Time: asked.Add(-time.Minute)}, Remedy: "see the error",
		})
	}
	var got bytes.Buffer
	if err := writeStatus(&got, s, asked, cli.Screen{Columns: 120}, false); err != nil {
		t.Fatal(err)
	}
	want := `warning  behind: 60 destinations, 600 pending: connection refused, for 1m 0s
         meter-0 to archive, meter-1 to archive, meter-2 to archive, and 57 more
         remedy: see the error
`
	if !strings.Contains(got.String(), want) || !strings.HasSuffix(got.String(), "\n940 streams healthy; --all or --stream shows them\n") {
		t.Errorf("got\n%s\nwant the problem\n%s\nand one line for the healthy streams", &got, want)
	}
	if n := strings.Count(got.String(), "\nstream "); n != 60 {
		t.Errorf("got %d streams, want those with a problem", n)
	}
	got.Reset()
	if err := writeStatus(&got, s, asked, cli.Screen{}, true); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(got.String(), "\nstream "); n != 1000 {
		t.Errorf("all: got %d streams", n)
	}
}

// No line is wider than the terminal, and the figures of now are there on a narrow one too. Colors change no width.
func TestStatusTable_FitsTheTerminal(t *testing.T) {
	status := sampleStatus()
	status.Problems = []admin.Problem{{Kind: "blocked", Severity: admin.Critical, Text: strings.Repeat("word ", 60), Remedy: "change the cause"}}
	sequence := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for columns := 40; columns < 200; columns++ {
		var plain, colored bytes.Buffer
		if err := errors.Join(writeStatus(&plain, status, asked, cli.Screen{Columns: columns}, false),
			writeStatus(&colored, status, asked, cli.Screen{Columns: columns, Color: true}, false)); err != nil {
			t.Fatal(err)
		}
		if plain.String() != sequence.ReplaceAllString(colored.String(), "") || plain.Len() == colored.Len() || strings.Contains(plain.String(), "\x1b") {
			t.Fatalf("%d columns: the colored table has other texts:\n%s\n%q", columns, &plain, &colored)
		}
		for line := range strings.Lines(plain.String()) {
			if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > max(columns, 54) {
				t.Errorf("%d columns: got %d: %s", columns, n, line)
			}
		}
		for _, want := range []string{"pending", "out/s", "12.3M", "0.5"} {
			if !strings.Contains(plain.String(), want) {
				t.Errorf("%d columns: got no %q in\n%s", columns, want, &plain)
			}
		}
	}
}

// Views show a part, and --check fails if events are not accepted or a destination is blocked.
func TestStatus_Views(t *testing.T) {
	status := sampleStatus()
	status.Accepting.OK = true
	blocked := &status.Streams[0].Destinations[1]
	for _, test := range []struct {
		flags string
		state admin.State
		ok    bool
		code  int
		want  []string
		not   []string
	}{
		{"", admin.Blocked, true, 0, []string{"stream clicks", "stream idle"}, nil},
		{"--stream c*", admin.Blocked, true, 0, []string{"stream clicks"}, []string{"stream idle"}},
		{"--stream none", admin.Blocked, true, 0, []string{"gateway-17"}, []string{"stream clicks"}},
		{"--check", admin.Blocked, true, 1, []string{"stream clicks"}, nil},
		{"--check", admin.Waiting, true, 0, []string{"stream clicks"}, nil},
		{"--check --json", admin.Waiting, false, 1, []string{`"name": "clicks"`}, nil},
		{"--problems", admin.Blocked, true, 0, []string{"no problem\n"}, []string{"stream clicks"}},
	} {
		blocked.State, status.Accepting.OK = test.state, test.ok
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(status) }))
		got := runWith(append([]string{"status", "--address", server.Listener.Addr().String()}, strings.Fields(test.flags)...)...)
		server.Close()
		if got.code != test.code || got.stderr != "" {
			t.Errorf("status %s: got exit code %d and %q, want %d", test.flags, got.code, got.stderr, test.code)
		}
		text := strings.ReplaceAll(got.stdout, `"name":"clicks"`, `"name": "clicks"`)
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("status %s: got %q, want %q in it", test.flags, got.stdout, want)
			}
		}
		for _, not := range test.not {
			if strings.Contains(text, not) {
				t.Errorf("status %s: got %q in %q", test.flags, not, got.stdout)
			}
		}
	}
}

func TestHealthcheck_ExitCode(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(code)
			w.Write([]byte("the disk is full\n"))
		} else if r.URL.Path != "/livez" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	if got := runWith("healthcheck", "--address", address); got.code != 0 || got.stdout+got.stderr != "" {
		t.Errorf("ready: got %+v, want exit code 0 and no output", got)
	}
	code = http.StatusServiceUnavailable
	if got := runWith("healthcheck", "--address", address); got.code != 1 || !strings.Contains(got.stderr, "the disk is full") {
		t.Errorf("not ready: got %+v, want exit code 1 and the reason", got)
	}
	if got := runWith("healthcheck", "--live", "--address", address); got.code != 0 {
		t.Errorf("live, not ready: got %+v, want exit code 0", got)
	}
}
