//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
	"github.com/standpipe/standpipe/test/testkit"
)

// An agent is a running `standpipe agent` with its own folder and addresses, which stay the same
// through restarts.
type agent struct {
	*process
	t       *testing.T
	dir     string // holds agent.hcl, the data directory, the sockets and the delivered files
	grpc    string
	admin   string
	head    string // of agent.hcl, above the streams
	started time.Duration
	under   []string // a program and its arguments that the next start runs the agent under
	output  *os.File // standard output of the next start; nil: beside standard error
}

// newAgent writes agent.hcl with the streams; start starts it. ${dir} in streams is the agent's
// folder; extra goes above them (a wal block, shutdown_timeout).
func newAgent(t *testing.T, extra, streams string) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir(), grpc: testkit.FreeAddress(t), admin: testkit.FreeAddress(t)}
	a.head = fmt.Sprintf(`
node_name = "e2e"
data_dir  = %q
listener "grpc" { address = %q }
listener "grpc" { address = "unix://%s" }
listener "socket" { address = "unix://%s" }
admin { address = %q }
`, a.path("data"), a.grpc, a.path("grpc.sock"), a.path("events.sock"), a.admin) + extra
	a.configure(streams)
	return a
}

// startAgent is newAgent and start.
func startAgent(t *testing.T, extra, streams string) *agent {
	t.Helper()
	a := newAgent(t, extra, streams)
	a.start()
	return a
}

// configure writes agent.hcl anew.
func (a *agent) configure(streams string) {
	a.t.Helper()
	text := a.head + strings.ReplaceAll(streams, "${dir}", a.dir)
	if err := os.WriteFile(a.path("agent.hcl"), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) path(name string) string { return filepath.Join(a.dir, name) }

// start starts the agent and waits until it accepts events.
func (a *agent) start() {
	a.t.Helper()
	begin := time.Now()
	a.launch()
	testkit.Eventually(a.t, 20*time.Second, func() error {
		if a.ended() {
			a.t.Fatalf("the agent ended with exit code %d before it was ready", a.exit(0))
		}
		return a.expectCode("/readyz", http.StatusOK)
	})
	a.started = time.Since(begin)
}

// launch starts the agent and does not wait.
func (a *agent) launch() {
	a.t.Helper()
	line := append(slices.Clone(a.under), standpipe, "agent", "--config", a.path("agent.hcl"))
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = a.dir
	if a.output != nil {
		cmd.Stdout = a.output
	}
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
		"AWS_EC2_METADATA_DISABLED=true", "GORACE=halt_on_error=1")
	a.process = startProcess(a.t, cmd)
}

// stop drains the agent and expects a clean end.
func (a *agent) stop() {
	a.t.Helper()
	a.signal(syscall.SIGTERM)
	if code := a.exit(40 * time.Second); code != 0 {
		a.t.Errorf("got exit code %d after SIGTERM, want 0", code)
	}
}

// standpipe runs a command with the agent's admin address, and returns its output.
func (a *agent) standpipe(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := runProgram(t, "", append(args, "--address", a.admin)...)
	if code != 0 {
		t.Fatalf("standpipe %s: got %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// expectCode requires an HTTP status of the admin listener.
func (a *agent) expectCode(path string, want int) error {
	r, err := http.Get("http://" + a.admin + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	if r.StatusCode != want {
		return fmt.Errorf("%s: got %s, want %d: %s", path, r.Status, want, text)
	}
	return nil
}

// get returns the response of the admin listener.
func (a *agent) get(path string) string {
	a.t.Helper()
	r, err := http.Get("http://" + a.admin + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(text)
}

// dial connects to the agent's gRPC listener on TCP.
func (a *agent) dial() standpipev1.IngestClient {
	a.t.Helper()
	return standpipev1.NewIngestClient(a.connection(a.grpc))
}

func (a *agent) connection(address string) *grpc.ClientConn {
	a.t.Helper()
	return grpckit.Dial(a.t, address)
}

// agentStatus has the promised fields of /v1/status.
type agentStatus struct {
	Agent struct {
		ID        string
		NodeName  string `json:"node_name"`
		Version   string
		State     string
		StartedAt time.Time `json:"started_at"`
	}
	Wal struct {
		Bytes    int64
		MaxBytes int64 `json:"max_bytes"`
		Segments int
		Failed   string
	}
	Streams []streamStatus
}

type count struct{ Events, Bytes uint64 }

type streamStatus struct {
	Name         string
	FirstOffset  uint64 `json:"first_offset"`
	NextOffset   uint64 `json:"next_offset"`
	Appended     count
	Refused      count
	HeldBytes    int64 `json:"held_bytes"`
	MaxBytes     int64 `json:"max_bytes"`
	Destinations []destinationStatus
}

type destinationStatus struct {
	Type, Name, State string
	Checkpoint        uint64
	Delivered, Dead   count
	Dropped           struct {
		Events  uint64
		Reasons map[string]uint64
	}
	Pending struct {
		Events, Bytes uint64
		OldestSeconds float64 `json:"oldest_seconds"`
	}
	Requests, Records uint64
	BilledBytes       uint64  `json:"billed_bytes"`
	CompressionRatio  float64 `json:"compression_ratio"`
	LastDeliveryAt    string  `json:"last_delivery_at"`
	LastError         string  `json:"last_error"`
}

func (a *agent) status() agentStatus {
	a.t.Helper()
	var s agentStatus
	if err := json.Unmarshal([]byte(a.get("/v1/status")), &s); err != nil {
		a.t.Fatal(err)
	}
	checkLedger(a.t, s)
	return s
}

// checkLedger holds appended = delivered + dead + dropped + pending, which is so at every instant.
// The tests' destinations exist since their stream's first event.
func checkLedger(t *testing.T, s agentStatus) {
	t.Helper()
	for _, stream := range s.Streams {
		for _, d := range stream.Destinations {
			sum := d.Delivered.Events + d.Dead.Events + d.Dropped.Events + d.Pending.Events
			if sum != stream.Appended.Events {
				t.Errorf("%s/%s: appended %d, but delivered %d + dead %d + dropped %d + pending %d = %d", stream.Name, d.Name,
					stream.Appended.Events, d.Delivered.Events, d.Dead.Events, d.Dropped.Events, d.Pending.Events, sum)
			}
		}
	}
}

func (a *agent) stream(name string) streamStatus {
	a.t.Helper()
	for _, s := range a.status().Streams {
		if s.Name == name {
			return s
		}
	}
	return streamStatus{Name: name, FirstOffset: 1, NextOffset: 1}
}

func (s streamStatus) destination(name string) destinationStatus {
	for _, d := range s.Destinations {
		if d.Name == name {
			return d
		}
	}
	return destinationStatus{State: "absent"}
}

// waitDelivered waits until every destination of the stream has delivered all events, and that
// they are want.
func (a *agent) waitDelivered(stream string, want int, limit time.Duration) streamStatus {
	a.t.Helper()
	var s streamStatus
	testkit.Eventually(a.t, limit, func() error {
		s = a.stream(stream)
		if s.Appended.Events != uint64(want) {
			return fmt.Errorf("stream %s: appended %d events, want %d", stream, s.Appended.Events, want)
		}
		for _, d := range s.Destinations {
			if d.Delivered.Events != uint64(want) {
				return fmt.Errorf("destination %s: delivered %d of %d, pending %d, dead %d, dropped %d, %s: %s", d.Name,
					d.Delivered.Events, want, d.Pending.Events, d.Dead.Events, d.Dropped.Events, d.State, d.LastError)
			}
		}
		return nil
	})
	return s
}
