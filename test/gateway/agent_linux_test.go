package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/testkit"
)

// program is the agent under test: the one that STANDPIPE_GATEWAY_PROGRAM names, or one built here.
var program = os.Getenv("STANDPIPE_GATEWAY_PROGRAM")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() || program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "standpipe-gateway-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "standpipe")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/standpipe/standpipe/cmd/standpipe").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const eventSize = 200

// agent is the program under test as its user runs it, and the producer of its events.
type agent struct {
	t      *testing.T
	dir    string                // of its files
	under  []string              // a command that runs the program; empty: none
	launch func(*exec.Cmd) error // starts the program
	client *client.Client
	http   http.Client

	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended

	sent atomic.Int64 // events
	data func(id int64) []byte
}

// newAgent returns an agent that is not started. Its log is in the folder data.
func newAgent(t *testing.T, data, settings string) *agent {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the tests of the built program")
	}
	a := &agent{t: t, dir: t.TempDir(), launch: (*exec.Cmd).Start, data: random}
	if data == "" {
		data = a.path("data")
	}
	a.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", a.path("admin.sock"))
	}}
	t.Cleanup(a.http.CloseIdleConnections)
	head := fmt.Sprintf("data_dir = %q\nshutdown_timeout = \"1s\"\nlistener \"grpc\" { address = \"unix://%s\" }\nadmin { address = \"unix://%s\" }\n",
		data, a.path("grpc.sock"), a.path("admin.sock"))
	testkit.Must(t, os.WriteFile(a.path("agent.hcl"), []byte(head+settings), 0o600))
	c, err := client.Dial("unix://"+a.path("grpc.sock"), client.Options{})
	testkit.Must(t, err)
	a.client = c
	t.Cleanup(func() { c.Close() })
	t.Cleanup(func() {
		a.kill()
		if text, _ := os.ReadFile(a.path("agent.log")); t.Failed() || testing.Verbose() && os.Getenv("STANDPIPE_GATEWAY_LOG") != "" {
			t.Logf("the agent's log:\n%s", text)
		}
	})
	return a
}

func (a *agent) path(name string) string { return filepath.Join(a.dir, name) }

// start starts the agent and waits until it accepts events, or has ended.
func (a *agent) start() {
	a.t.Helper()
	out, err := os.OpenFile(a.path("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	testkit.Must(a.t, err)
	defer out.Close()
	command := append(a.under[:len(a.under):len(a.under)], program, "agent", "--config", a.path("agent.hcl"))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for kill
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CA_BUNDLE="+a.bundle())
	testkit.Must(a.t, a.launch(cmd))
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	a.cmd, a.done = cmd, done
	testkit.Eventually(a.t, time.Minute, func() error {
		if a.ended() {
			return nil
		}
		_, err := a.status()
		return err
	})
}

// bundle is the CA of the service; without a service that has one, it is empty.
func (a *agent) bundle() string {
	if _, err := os.Stat(a.path("ca.pem")); err != nil {
		return ""
	}
	return a.path("ca.pem")
}

// ended reports whether the agent is no longer running.
func (a *agent) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// kill ends the agent, and the command that runs it, as a crash does.
func (a *agent) kill() {
	if a.cmd != nil {
		syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL)
		<-a.done
	}
}

// destination is the part of a status that the measurements use.
type destination struct {
	Delivered, Pending uint64
	Oldest             float64
}

// status returns the first destination's counts, with the pending events of all streams.
func (a *agent) status() (d destination, err error) {
	r, err := a.http.Get("http://agent/v1/status")
	if err != nil {
		return d, err
	}
	defer r.Body.Close()
	var s struct {
		Streams []struct {
			Destinations []struct {
				Delivered struct{ Events uint64 }
				Pending   struct {
					Events        uint64
					OldestSeconds float64 `json:"oldest_seconds"`
				}
			}
		}
	}
	if r.StatusCode != http.StatusOK {
		return d, errors.New(r.Status)
	}
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return d, err
	}
	for _, stream := range s.Streams {
		for _, to := range stream.Destinations {
			d.Delivered += to.Delivered.Events
			d.Pending += to.Pending.Events
			d.Oldest = max(d.Oldest, to.Pending.OldestSeconds)
		}
	}
	return d, nil
}

// metric returns the value of a metric without labels.
func (a *agent) metric(name string) float64 {
	a.t.Helper()
	r, err := a.http.Get("http://agent/metrics")
	testkit.Must(a.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	testkit.Must(a.t, err)
	_, rest, found := strings.Cut(string(text), "\n"+name+" ")
	line, _, _ := strings.Cut(rest, "\n")
	value, err := strconv.ParseFloat(line, 64)
	if !found || err != nil {
		a.t.Fatalf("metric %s: got %q", name, line)
	}
	return value
}

// produce appends n events of 200 bytes under 20 keys.
func (a *agent) produce(stream string, n int) {
	a.t.Helper()
	if err := a.append(client.Batch{Stream: stream}, n); err != nil {
		a.t.Error(err)
	}
}

// append appends n events with the stream and the ack level of b.
func (a *agent) append(b client.Batch, n int) error {
	b.Events = make([]client.Event, n)
	for i := range b.Events {
		id := a.sent.Add(1)
		b.Events[i] = client.Event{Key: fmt.Sprintf("sensor-%d", id%20), Data: a.data(id)}
	}
	_, err := a.client.AppendBatch(a.t.Context(), b)
	return err
}

// produceFor makes perSecond requests of one event a second for a while, to the streams in turn. A request does not wait for the
// response of the one before.
func (a *agent) produceFor(b client.Batch, streams []string, perSecond int, d time.Duration) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	end := time.Now().Add(d)
	for i := 0; time.Now().Before(end); i++ {
		<-tick.C
		request := b
		request.Stream = streams[i%len(streams)]
		all.Go(func() {
			if err := a.append(request, 1); err != nil {
				a.t.Error(err)
			}
		})
	}
}

// random returns an event that hardly compresses.
func random(id int64) []byte {
	r := rand.New(rand.NewPCG(uint64(id), 7))
	data := fmt.Appendf(nil, `{"id":"%010d","data":"`, id)
	for len(data) < eventSize-2 {
		data = append(data, "0123456789abcdef"[r.IntN(16)])
	}
	return append(data, `"}`...)
}

// reading returns an event as a meter sends them.
func reading(id int64) []byte {
	r := rand.New(rand.NewPCG(uint64(id), 7))
	data := fmt.Appendf(nil, `{"id":"%010d","site":"plant-7","sensor":"meter-%02d","at":"2026-11-29T10:%02d:%02d.%03dZ","temperature":%.2f,"humidity":%.1f,"pressure":%.1f,"battery":%.2f,"status":"`,
		id, id%20, id/1200%60, id/20%60, r.IntN(1000), 18+6*r.Float64(), 40+20*r.Float64(), 1000+20*r.Float64(), 3+r.Float64())
	return append(append(data, strings.Repeat("k", max(0, eventSize-2-len(data)))...), `"}`...)
}
