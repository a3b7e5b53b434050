package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
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
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/gateway"
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

const (
	service   = gateway.ServiceAddress + ":443"
	admin     = "127.0.0.1:7712"
	eventSize = 200
)

// box is a gateway: an agent behind a link, the service beyond it, and a producer.
type box struct {
	*gateway.World
	t      *testing.T
	dir    string
	aws    *fakeaws.Server
	client *client.Client
	http   http.Client

	handshakes, resumed atomic.Int64
	body                atomic.Int64 // bytes of request bodies that the service read
	sent                atomic.Int64 // events

	data func(id int64) []byte
}

// openBox starts the service and an agent with these streams; ${endpoint} in streams is the service.
func openBox(t *testing.T, q gateway.Quality, streams string) *box {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the tests of the built program")
	}
	b := &box{World: gateway.Open(t, q), t: t, dir: t.TempDir(), aws: fakeaws.Start(t), data: random}
	b.aws.AnyOrder()
	ca := certkit.New(t, b.dir, "ca")
	cert, key := ca.Issue("service", certkit.Certificate{Common: "service", IPs: []net.IP{net.ParseIP(gateway.ServiceAddress)}})
	b.serve(cert, key)
	b.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b.Agent.Dial(admin) }}
	t.Cleanup(b.http.CloseIdleConnections)

	head := fmt.Sprintf("data_dir = %q\nshutdown_timeout = \"1s\"\nlistener \"grpc\" { address = \"unix://%s\" }\nadmin { address = %q }\n",
		b.path("data"), b.path("grpc.sock"), admin)
	testkit.Must(t, os.WriteFile(b.path("agent.hcl"), []byte(head+strings.ReplaceAll(streams, "${endpoint}", "https://"+service)), 0o600))
	b.start()
	c, err := client.Dial("unix://"+b.path("grpc.sock"), client.Options{})
	testkit.Must(t, err)
	b.client = c
	t.Cleanup(func() { c.Close() })
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

// serve starts the service beyond the link.
func (b *box) serve(cert, key string) {
	b.t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	testkit.Must(b.t, err)
	l, err := b.Service.Listen(service)
	testkit.Must(b.t, err)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = countedBody{r.Body, &b.body}
			b.aws.ServeHTTP(w, r)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, VerifyConnection: func(s tls.ConnectionState) error {
			b.handshakes.Add(1)
			if s.DidResume {
				b.resumed.Add(1)
			}
			return nil
		}},
	}
	go srv.ServeTLS(l, "", "")
	b.t.Cleanup(func() { srv.Close() })
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// start starts the agent and waits until it accepts events.
func (b *box) start() {
	b.t.Helper()
	out, err := os.OpenFile(b.path("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	testkit.Must(b.t, err)
	defer out.Close()
	cmd := exec.Command(program, "agent", "--config", b.path("agent.hcl"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CA_BUNDLE="+b.path("ca.pem"))
	b.Agent.Do(func() { err = cmd.Start() })
	testkit.Must(b.t, err)
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	b.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGKILL)
		<-done
		if text, _ := os.ReadFile(b.path("agent.log")); b.t.Failed() || testing.Verbose() && os.Getenv("STANDPIPE_GATEWAY_LOG") != "" {
			b.t.Logf("the agent's log:\n%s", text)
		}
	})
	testkit.Eventually(b.t, time.Minute, func() error {
		_, err := b.status()
		return err
	})
}

// destination is the part of a status that the measurements use.
type destination struct {
	Delivered, Pending uint64
	Oldest             float64
}

// status returns the first destination's counts, with the pending events of all streams.
func (b *box) status() (d destination, err error) {
	r, err := b.http.Get("http://" + admin + "/v1/status")
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

// produce appends n events of 200 bytes under 20 keys.
func (b *box) produce(stream string, n int) {
	b.t.Helper()
	events := make([]client.Event, n)
	for i := range events {
		id := b.sent.Add(1)
		data := b.data(id)
		events[i] = client.Event{Key: fmt.Sprintf("sensor-%d", id%20), Data: data}
	}
	if _, err := b.client.Append(b.t.Context(), stream, events...); err != nil {
		b.t.Fatal(err)
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

// produceFor appends perSecond events a second, one at a time, for a while.
func (b *box) produceFor(stream string, perSecond int, d time.Duration) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		b.produce(stream, 1)
	}
}

// flap takes the link up and down until ctx ends.
func (b *box) flap(up, down time.Duration, cycles int) {
	for range cycles {
		b.Link.Set(true)
		time.Sleep(up)
		b.Link.Set(false)
		time.Sleep(down)
	}
}

var eventID = regexp.MustCompile(`"id":"\d{10}"`)

// stored returns the numbers of distinct events at the service, and of those that arrived again.
func (b *box) stored() (distinct, again int) {
	b.t.Helper()
	seen := make(map[string]bool)
	note := func(data []byte) {
		if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, err = io.ReadAll(z)
			testkit.Must(b.t, err)
		}
		for _, id := range eventID.FindAllString(string(data), -1) {
			if seen[id] {
				again++
			}
			seen[id] = true
		}
	}
	for _, r := range b.aws.Records() {
		groups, aggregated, err := kpl.Decode(r.Data)
		if err != nil || !aggregated {
			note(r.Data)
			continue
		}
		for _, g := range groups {
			for _, data := range g.Payloads {
				note(data)
			}
		}
	}
	return len(seen), again
}
