package relay_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/relay"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestMain(m *testing.M) {
	if os.Getenv(receiverVariable) != "" {
		receiveAndDiscard()
		return
	}
	testkit.RunTests(m, "standpipe/shipper/sink/relay", nil)
}

// receiver is the log of another agent behind its gRPC listener.
type receiver struct {
	t       testing.TB
	dir     string
	address string
	cut     func() bool // called for each read from and write to a connection: true closes it; nil: never

	options ingest.Options
	wal     wal.Options
	log     *wal.Log
	stop    func()
}

// rules accepts every stream.
type rules struct{ ingest.StreamRules }

func (r rules) Lookup(name string) (ingest.StreamRules, error) {
	if name == "unknown" {
		return r.StreamRules, fmt.Errorf("stream %q: %w", name, ingest.ErrNoStream)
	}
	return r.StreamRules, nil
}

// receive starts a receiver. set, which may be nil, changes it before.
func receive(t testing.TB, set func(*receiver)) *receiver {
	t.Helper()
	r := &receiver{t: t, dir: t.TempDir(), address: testkit.FreeAddress(t)}
	r.options.Streams = rules{ingest.StreamRules{Format: ingest.FormatBytes}}
	if set != nil {
		set(r)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *receiver) start() {
	r.t.Helper()
	var err error
	o := r.wal
	o.Dir = r.dir
	r.log, err = wal.Open(context.Background(), o)
	testkit.Must(r.t, err)
	l, err := net.Listen("tcp", r.address)
	testkit.Must(r.t, err)
	r.address = l.Addr().String()
	listener := r.options
	listener.Type, listener.Log, listener.Listener = ingest.GRPC, ingest.FromWAL(r.log), cutting{l, r}
	server, err := ingest.New(listener)
	testkit.Must(r.t, err)
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	r.stop = func() {
		stopCtx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Stop(stopCtx)
		end()
		<-served
		if err := r.log.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// restart restarts the receiver at the same address.
func (r *receiver) restart() {
	r.stop()
	r.start()
}

// stored returns the events of a stream.
func (r *receiver) stored(stream string) []wal.Event {
	return testkit.ReadAll(r.t, r.log, stream, 1, wal.AllLanes)
}

// cutting closes connections at the wish of the receiver.
type cutting struct {
	net.Listener
	r *receiver
}

func (c cutting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil || c.r.cut == nil {
		return conn, err
	}
	return &cutConn{Conn: conn, cut: c.r.cut}, nil
}

type cutConn struct {
	net.Conn
	cut    func() bool
	closed atomic.Bool
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.end()
	return n, err
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.end() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c *cutConn) end() bool {
	if c.closed.Load() || c.cut() {
		c.closed.Store(true)
		c.Conn.Close()
		return true
	}
	return false
}

// options are those of a sink for the receiver's stream in.
func (r *receiver) relayOptions() relay.Options {
	return relay.Options{
		Address: r.address, Stream: "in", Source: "out", Destination: "site",
		Branches: []wal.Branch{{First: 1, ID: "LOG"}}, MaxDelay: time.Second, Timeout: 10 * time.Second,
	}
}

func open(t testing.TB, o relay.Options) *relay.Sink {
	t.Helper()
	s, err := relay.New(o)
	testkit.Must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// events returns events with the offsets from first up to next.
func events(first, next uint64) (all []wal.Event) {
	for o := first; o < next; o++ {
		all = append(all, wal.Event{Offset: o, Key: fmt.Sprint("key-", o%7), Data: fmt.Append(nil, o), Time: int64(o)})
	}
	return all
}

// ship ships events as one range after another, until an error that is not about the connection.
func ship(t testing.TB, s *relay.Sink, all []wal.Event) (sum ranged.Outcome, failed *ranged.Error) {
	t.Helper()
	for len(all) > 0 {
		n, err := s.Add(t.Context(), all)
		if err != nil {
			return sum, err
		}
		if s.Due().IsZero() || n == 0 {
			t.Fatalf("added %d of %d events, due at %v", n, len(all), s.Due())
		}
		s.Seal()
		o, err := s.Commit(t.Context())
		if err != nil {
			return sum, err
		}
		sum.Requests, sum.Records, sum.BilledBytes = sum.Requests+o.Requests, sum.Records+o.Records, sum.BilledBytes+o.BilledBytes
		all = all[n:]
	}
	return sum, nil
}

// check compares the receiver's events with those that were relayed.
func check(t testing.TB, got, want []wal.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i := range want {
		if g, w := &got[i], &want[i]; g.Key != w.Key || string(g.Data) != string(w.Data) || g.Time != w.Time || fmt.Sprint(g.Attributes) != fmt.Sprint(w.Attributes) {
			t.Fatalf("event %d: got %+v, want %+v", i, g, w)
		}
	}
}
