//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/test/testkit"
)

// traceparent is the trace that the programs log in.
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// An otelProgram is an example that logs with OpenTelemetry's SDK without any code for standpipe: its environment has
// the endpoint.
type otelProgram struct {
	command  []string
	listener string // its type
	unix     bool   // the listener is on a unix socket
	retries  bool   // after a temporary rejection
}

func otelPrograms(t *testing.T) map[string]otelProgram {
	t.Helper()
	python := []string{standin(t, "py", "bin", "python"), exampleFile(t, "otel_logs.py")}
	node := []string{"node", exampleFile(t, "otel_logs.js")}
	return map[string]otelProgram{
		"python-grpc": {command: python, listener: "grpc", retries: true},
		"python-http": {command: python, listener: "http", retries: true},
		"node-grpc":   {command: node, listener: "grpc", unix: true}, // of this one the SDK tries nothing again
		"node-http":   {command: node, listener: "http", retries: true},
	}
}

// startAgent starts an agent with a listener for the program, whose records go to stream logs.
func (p otelProgram) startAgent(t *testing.T, extra, streams string) (a *agent, endpoint string) {
	t.Helper()
	a = newAgent(t, extra, "")
	address := testkit.FreeAddress(t)
	endpoint = "http://" + address
	switch {
	case p.unix:
		address = "unix://" + a.path("otlp.sock")
		endpoint = address
	case p.listener == "http":
		endpoint += "/v1/logs"
	}
	a.head += fmt.Sprintf("listener %q {\n  address = %q\n  otlp { stream = \"logs\" }\n}\n", p.listener, address)
	a.configure(streams)
	a.start()
	return a, endpoint
}

// start starts the program with a file of readings; it logs each of them.
func (p otelProgram) start(t *testing.T, endpoint, file string) *process {
	t.Helper()
	protocol := map[string]string{"grpc": "grpc", "http": "http/protobuf"}[p.listener]
	cmd := exec.Command(p.command[0], append(p.command[1:], file)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+standin(t, "node_modules"), "no_proxy=*", "TRACEPARENT="+traceparent,
		"OTEL_LOGS_EXPORTER=otlp", "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none", "OTEL_SERVICE_NAME=pumps",
		"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="+endpoint,
		"OTEL_EXPORTER_OTLP_LOGS_INSECURE=true", "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION=gzip")
	return startProcess(t, cmd)
}

// expectDone requires the program to exit with 0.
func (p *process) expectDone() {
	p.t.Helper()
	if code := p.exit(time.Minute); code != 0 {
		p.t.Errorf("%s: got exit code %d: %s", p.cmd, code, p.out)
	}
}

// Programs that log with OpenTelemetry's SDKs send to the agent with no change: each record arrives once, in its
// order, with its body, its resource and its trace.
func TestOpenTelemetrySDKs(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	for name, p := range otelPrograms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, endpoint := p.startAgent(t, "", streamBlock("logs", fileDestination))
			file, want := sampleReadings(t)
			p.start(t, endpoint, file).expectDone()
			a.waitDelivered("logs", len(want), time.Minute)
			a.stop()
			expectLogged(t, a, want)
		})
	}
}

// When the log is full, an SDK holds its records until there is room.
func TestOpenTelemetrySDKs_WaitForSpace(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	for name, p := range otelPrograms(t) {
		if !p.retries {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			destination := "\n  destination \"file\" \"local\" {\n    path = \"${dir}/out/${stream}\"" + quick + "\n  }"
			a, endpoint := p.startAgent(t, smallLog("reject"),
				streamBlock("logs", destination)+streamBlock("other", "\n  format = \"text\"", destination))
			inTheWay := a.path("out")
			if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			a.fill("other")
			file, want := sampleReadings(t)
			program := p.start(t, endpoint, file)
			testkit.Eventually(t, time.Minute, func() error {
				if program.ended() {
					t.Fatal("the program has ended before it was refused")
				}
				if got := a.stream("logs").Refused.Events; got < uint64(len(want)) {
					return fmt.Errorf("got %d records refused, want %d", got, len(want))
				}
				return nil
			})
			if err := os.Remove(inTheWay); err != nil {
				t.Fatal(err)
			}
			program.expectDone()
			a.waitDelivered("logs", len(want), time.Minute)
			a.stop()
			expectLogged(t, a, want)
		})
	}
}

// fill appends events until the log is full.
func (a *agent) fill(stream string) {
	a.t.Helper()
	client := a.dial()
	for i := 0; ; i++ {
		if _, err := client.Append(a.t.Context(), request(stream, large(i))); err != nil {
			expectError(a.t, err, codes.ResourceExhausted)
			return
		}
	}
}

// A reading is a record of the programs: a line of the sample, and its fields as attributes.
type reading map[string]any

func sampleReadings(t *testing.T) (file string, readings []reading) {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "..", "testdata", "sample.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(readFile(t, file)) {
		var r reading
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		readings = append(readings, r)
	}
	return file, readings
}

// otelDocument is the data of an event: a whole document of OTLP/JSON.
type otelDocument struct {
	ResourceLogs []struct {
		Resource  struct{ Attributes []otelAttribute }
		ScopeLogs []struct {
			Scope      struct{ Name string }
			LogRecords []otelRecord
		}
	}
}

type otelRecord struct {
	TimeUnixNano, ObservedTimeUnixNano string
	SeverityNumber                     int
	SeverityText                       string
	Body                               struct{ StringValue string }
	Attributes                         []otelAttribute
	TraceID, SpanID                    string
}

type otelAttribute struct {
	Key   string
	Value struct {
		StringValue string
		IntValue    string // as 64-bit numbers are in protobuf's JSON
		DoubleValue float64
	}
}

// fields are attributes as a reading has them.
func fields(attributes []otelAttribute) reading {
	r := make(reading)
	for _, a := range attributes {
		n, err := strconv.ParseFloat(a.Value.IntValue, 64)
		switch {
		case err == nil:
			r[a.Key] = n
		case a.Value.DoubleValue != 0:
			r[a.Key] = a.Value.DoubleValue
		default:
			r[a.Key] = a.Value.StringValue
		}
	}
	return r
}

// expectLogged requires stream logs to have delivered a record for each reading, and no other.
func expectLogged(t *testing.T, a *agent, want []reading) {
	t.Helper()
	got := strings.SplitAfter(contents(t, a.path("out/logs")), "\n")
	if len(got) != len(want)+1 {
		t.Fatalf("got %d records, want %d", len(got)-1, len(want))
	}
	for i, r := range want {
		var d otelDocument
		if err := json.Unmarshal([]byte(got[i]), &d); err != nil {
			t.Fatal(err)
		}
		if fault := d.differs(r); fault != "" {
			t.Fatalf("record %d: %s in %s", i, fault, got[i])
		}
	}
}

func (d otelDocument) differs(r reading) string {
	resource := d.ResourceLogs[0]
	scope := resource.ScopeLogs[0]
	record := scope.LogRecords[0]
	severity := otelRecord{SeverityNumber: 9, SeverityText: "INFO"}
	if r["value"].(float64) > 500 {
		severity = otelRecord{SeverityNumber: 13, SeverityText: "WARN"}
	}
	for _, what := range []struct{ name, got, want string }{
		{"service.name", fmt.Sprint(fields(resource.Resource.Attributes)["service.name"]), "pumps"},
		{"scope", scope.Scope.Name, "readings"},
		{"body", record.Body.StringValue, fmt.Sprintf("%v has its reading %v", r["sensor"], r["n"])},
		{"attributes", fmt.Sprint(fields(record.Attributes)), fmt.Sprint(r)},
		{"severityNumber", fmt.Sprint(record.SeverityNumber), fmt.Sprint(severity.SeverityNumber)},
		{"severityText", record.SeverityText, severity.SeverityText},
		{"trace", "00-" + record.TraceID + "-" + record.SpanID + "-01", traceparent},
	} {
		if what.got != what.want {
			return fmt.Sprintf("got %s %s, want %s", what.name, what.got, what.want)
		}
	}
	if record.TimeUnixNano == "" || record.ObservedTimeUnixNano == "" {
		return "a time is missing"
	}
	return ""
}
