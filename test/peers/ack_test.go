//go:build linux

package peers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/standpipe/standpipe/client"
)

const (
	eventSize = 1024
	// natsFolder is set in the environment of a process of this test that is to be a NATS server with its files in that folder.
	natsFolder = "STANDPIPE_PEERS_NATS"
	// addressFile is the file in that folder where a server writes its address.
	addressFile = "address"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(natsFolder); dir != "" {
		serveNATS(dir)
		return
	}
	if dir := os.Getenv(floorFolder); dir != "" {
		serveFloor(dir)
		return
	}
	os.Exit(m.Run())
}

// serveNATS serves JetStream until the process is killed. It syncs every message before it responds.
func serveNATS(dir string) {
	s, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, SyncAlways: true, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
	})
	if err == nil {
		s.Start()
		if !s.ReadyForConnections(30 * time.Second) {
			err = fmt.Errorf("no NATS server within 30 s")
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, addressFile), []byte(s.ClientURL()), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.WaitForShutdown()
}

// start starts a program that ends with the test.
func start(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// await calls ready each millisecond until it succeeds.
func await(b *testing.B, ready func() error) {
	b.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

// serve starts a process of this test as the server that the variable chooses, and returns its address.
func serve(b *testing.B, variable string) (address string) {
	b.Helper()
	dir := b.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+dir)
	start(b, cmd)
	await(b, func() error {
		text, err := os.ReadFile(filepath.Join(dir, addressFile))
		if address = string(text); err == nil && address == "" {
			err = errors.New("the address is not written yet")
		}
		return err
	})
	return address
}

// openStandpipe starts an agent, and returns a function that appends an event and returns once it is synced.
func openStandpipe(b *testing.B) func(context.Context, []byte) error {
	dir := b.TempDir()
	program := filepath.Join(dir, "standpipe")
	if out, err := exec.Command("go", "-C", "../..", "build", "-o", program, "./cmd/standpipe").CombinedOutput(); err != nil {
		b.Fatalf("build standpipe: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	settings := fmt.Sprintf(`data_dir  = %q
log_level = "warn"
admin { address = "unix://%s" }
listener "grpc" { address = %q }
stream "s" {
  format = "bytes"
  destination "file" "local" { path = %q }
}
`, filepath.Join(dir, "data"), filepath.Join(dir, "admin.sock"), address, filepath.Join(dir, "out"))
	if err := os.WriteFile(filepath.Join(dir, "agent.hcl"), []byte(settings), 0o600); err != nil {
		b.Fatal(err)
	}
	start(b, exec.Command(program, "agent", "--config", filepath.Join(dir, "agent.hcl")))
	c, err := client.Dial(address, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	add := func(ctx context.Context, data []byte) error {
		_, err := c.Append(ctx, "s", client.Event{Key: "k", Data: data})
		return err
	}
	await(b, func() error { return add(b.Context(), []byte("first")) })
	return add
}

// openNATS is openStandpipe for a file stream of JetStream.
func openNATS(b *testing.B) func(context.Context, []byte) error {
	url := serve(b, natsFolder)
	var nc *nats.Conn
	await(b, func() (err error) {
		nc, err = nats.Connect(url)
		return err
	})
	b.Cleanup(nc.Close)
	js, err := nc.JetStream()
	if err == nil {
		_, err = js.AddStream(&nats.StreamConfig{Name: "s", Subjects: []string{"s"}, Storage: nats.FileStorage})
	}
	if err != nil {
		b.Fatal(err)
	}
	return func(ctx context.Context, data []byte) error {
		_, err := js.Publish("s", data, nats.Context(ctx))
		return err
	}
}

// turn is the number of events that a peer gets before the next one has its turn.
const turn = 64

// peer is a program that stores events.
type peer struct {
	name  string
	open  func(*testing.B) func(context.Context, []byte) error
	add   func(context.Context, []byte) error
	waits []time.Duration
	took  time.Duration
}

// BenchmarkAck measures callers that send one event of 1 KiB, and again once it is acknowledged, which is after its sync. The peers
// take turns, so that all of them meet the same machine. An iteration is one turn of each.
func BenchmarkAck(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			peers := []*peer{{name: "standpipe", open: openStandpipe}, {name: "nats", open: openNATS}, {name: "floor", open: openFloor}}
			for _, p := range peers {
				p.add = p.open(b)
			}
			for b.Loop() {
				for _, p := range peers {
					p.measure(b, callers)
				}
			}
			for _, p := range peers {
				slices.Sort(p.waits)
				b.ReportMetric(float64(p.waits[len(p.waits)/2].Microseconds()), p.name+"-p50-us")
				b.ReportMetric(float64(p.waits[len(p.waits)*99/100].Microseconds()), p.name+"-p99-us")
				b.ReportMetric(float64(len(p.waits))/p.took.Seconds(), p.name+"-acks/s")
			}
		})
	}
}

// measure gives each caller a turn.
func (p *peer) measure(b *testing.B, callers int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range callers {
		all.Go(func() {
			data := make([]byte, eventSize)
			own := make([]time.Duration, 0, turn)
			for range turn {
				sent := time.Now()
				if err := p.add(b.Context(), data); err != nil {
					b.Error(err)
				}
				own = append(own, time.Since(sent))
			}
			mu.Lock()
			defer mu.Unlock()
			p.waits = append(p.waits, own...)
		})
	}
	all.Wait()
	p.took += time.Since(began)
}
