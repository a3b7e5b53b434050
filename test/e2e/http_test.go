//go:build unix

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/test/testkit"
)

// httpListener are listener blocks, for an address and a folder.
const httpListener = `
listener "http" {
  address   = %q
  key_field = "user.id"
  pixel "/p.gif" {
    stream  = "clicks"
    key     = "uid"
    headers = ["User-Agent"]
  }
}
listener "grpc" {
  address = "unix://%s/otlp.sock"
  otlp { stream = "logs" }
}
`

// TestDocs_CurlLines runs the curl lines of the documentation, unchanged except for the address.
func TestDocs_CurlLines(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	var commands []string
	for _, page := range []string{"../../README.md", "../../docs/sending.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		commands = append(commands, regexp.MustCompile("(?m)^.*curl .*$").FindAllString(string(text), -1)...)
	}
	if len(commands) < 5 {
		t.Fatalf("the documentation shows %d curl lines, want 5 at least", len(commands))
	}
	testkit.Tool(t, "curl")
	address := testkit.FreeAddress(t)
	a := newAgent(t, "", "")
	a.head += fmt.Sprintf(httpListener, address, a.dir)
	a.configure(streamBlock("clicks", fileDestination) + streamBlock("logs", fileDestination))
	a.start()
	if err := os.WriteFile(a.path("events.ndjson"), []byte("{\"n\":1}\n{\"n\":2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "127.0.0.1:7711", address))
		cmd.Dir = a.dir
		cmd.Env = append(os.Environ(), "no_proxy=*")
		out, err := cmd.CombinedOutput()
		if pixel := strings.Contains(command, "/p.gif"); err != nil || !pixel && !strings.Contains(string(out), `{"offset":`) {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
	a.waitDelivered("clicks", 6, 20*time.Second)
	a.stop()
	got := contents(t, a.path("out/clicks"))
	for _, want := range []string{`{"page":"/"}`, `{"n":1}`, `{"n":2}`, `{"user":{"id":7}}`, `"query":{"page":"/","uid":"u1"}`} {
		if !strings.Contains(got, want+"\n") && !strings.Contains(got, want+",") {
			t.Errorf("%s was not delivered: %s", want, got)
		}
	}
}

// TestHTTP_SurvivesAKill: events acked over HTTP are there after a kill, and are recognised when they are sent again.
func TestHTTP_SurvivesAKill(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	address := testkit.FreeAddress(t)
	a := newAgent(t, "", "")
	a.head += fmt.Sprintf(httpListener, address, a.dir)
	a.configure(streamBlock("clicks", fileDestination) + streamBlock("logs", fileDestination))
	a.start()
	post := func(sequence int) string {
		body := fmt.Sprintf("{\"n\":%d}\n{\"n\":%d}\n", sequence, sequence+1)
		r, err := http.NewRequest("POST", "http://"+address+"/v1/streams/clicks?key=k", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-ndjson")
		r.Header.Set("X-Producer-Id", "p")
		r.Header.Set("X-Producer-Sequence", fmt.Sprint(sequence))
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, _ := io.ReadAll(got.Body)
		return string(text)
	}
	for s := 1; s < 100; s += 2 {
		if got, want := post(s), fmt.Sprintf("{\"offset\":%d,\"count\":2}\n", s); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	a.kill()
	http.DefaultClient.CloseIdleConnections()
	a.start()
	if got, want := post(99), "{\"offset\":99,\"count\":2,\"duplicate\":true}\n"; got != want {
		t.Errorf("sent again: got %s, want %s", got, want)
	}
	if got := a.stream("clicks").Appended.Events; got != 100 {
		t.Errorf("got %d events after the kill, want 100", got)
	}
	if !strings.Contains(a.get("/metrics"), `standpipe_append_seconds_count{listener="http"} 1`) {
		t.Error("the listener's appends are not counted")
	}
}

func TestOTLP_LogsAreDelivered(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := newAgent(t, "", "")
	a.head += fmt.Sprintf(httpListener, testkit.FreeAddress(t), a.dir)
	a.configure(streamBlock("clicks", fileDestination) + streamBlock("logs", fileDestination))
	a.start()
	body := &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: "hello"}}
	m := &logsv1.LogsData{ResourceLogs: []*logsv1.ResourceLogs{{ScopeLogs: []*logsv1.ScopeLogs{{LogRecords: []*logsv1.LogRecord{{Body: body}}}}}}}
	conn := a.connection("unix://" + a.path("otlp.sock"))
	err := conn.Invoke(t.Context(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", m, &emptypb.Empty{}, grpc.UseCompressor("gzip"))
	if err != nil {
		t.Fatal(err)
	}
	a.waitDelivered("logs", 1, 20*time.Second)
	a.stop()
	want := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}` + "\n"
	if got := contents(t, a.path("out/logs")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
