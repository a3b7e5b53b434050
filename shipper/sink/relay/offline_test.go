package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/relay"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// network has the listeners of agents in memory.
type network struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
}

func (n *network) listen(name string) *bufconn.Listener {
	l := bufconn.Listen(64 << 10)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[name] = l
	return l
}

func (n *network) dial(ctx context.Context, name string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[name]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l.DialContext(ctx)
}

func (n *network) remove(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.listeners, name)
}

// hop is an agent of a chain: a log, a listener, and a shipper to the next agent.
type hop struct {
	t          *testing.T
	n          *network
	name, next string // next: "" of the last agent
	dir        string
	log        *wal.Log
	cursor     *wal.Cursor // nil: of the last agent
	stop       func()
}

func newHop(t *testing.T, n *network, name, next string) *hop {
	t.Helper()
	h := &hop{t: t, n: n, name: name, next: next, dir: t.TempDir()}
	h.start()
	return h
}

func (h *hop) start() {
	h.t.Helper()
	var err error
	h.log, err = wal.Open(h.t.Context(), wal.Options{Dir: h.dir})
	testkit.Must(h.t, err)
	server, err := ingest.New(ingest.Options{
		Type: ingest.GRPC, Log: ingest.FromWAL(h.log), Listener: h.n.listen(h.name),
		Streams: rules{ingest.StreamRules{Format: ingest.FormatBytes}},
	})
	testkit.Must(h.t, err)
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { server.Serve(ctx) })
	halt := h.ship(&running)
	h.stop = func() {
		h.n.remove(h.name)
		halt()
		stopping, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Stop(stopping)
		end()
		running.Wait()
		testkit.Must(h.t, h.log.Close())
	}
}

// ship starts the shipper.
func (h *hop) ship(running *sync.WaitGroup) (halt func()) {
	if h.next == "" {
		return func() {}
	}
	var err error
	h.cursor, err = h.log.OpenCursor("in", "next")
	testkit.Must(h.t, err)
	o := (&receiver{address: h.next + ":1"}).relayOptions()
	o.Source, o.Branches = "in", h.log.Branches("in")
	conn, err := grpc.NewClient("passthrough:///"+h.next, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(h.n.dial))
	testkit.Must(h.t, err)
	sink := relay.NewOn(o, conn)
	r := ranged.New(ranged.Options{Source: h.log, Cursor: h.cursor, Sink: sink, Dead: rejectsNone{h.t}})
	ctx, end := context.WithCancel(context.Background())
	running.Go(func() {
		r.Run(ctx)
		<-r.Ended()
		sink.Close()
	})
	return end
}

type rejectsNone struct{ t *testing.T }

func (d rejectsNone) Put(l deadletter.Letter) error {
	d.t.Errorf("rejected: %s", l.Reason)
	return nil
}

func (h *hop) append(i int) {
	h.t.Helper()
	e := wal.Event{Key: fmt.Sprint("key-", i%7), Data: fmt.Append(nil, i), Time: int64(i + 1)}
	_, err := h.log.Append(h.t.Context(), &wal.Batch{Stream: "in", Events: []wal.Event{e}})
	testkit.Must(h.t, err)
}

// The agent in the middle of a chain is off for an hour, but for some short lives. Nothing is lost and nothing is repeated.
func TestRelay_MiddleOfAChainIsOffForAnHour(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 60))
			n := &network{listeners: make(map[string]*bufconn.Listener)}
			last := newHop(t, n, "last", "")
			middle := newHop(t, n, "middle", "last")
			first := newHop(t, n, "first", "middle")
			i := 0
			appendFor := func(d time.Duration) {
				for begin := time.Now(); time.Since(begin) < d; i++ {
					first.append(i)
					time.Sleep(time.Duration(r.IntN(20000)) * time.Millisecond)
				}
			}
			appendFor(30 * time.Second)
			for range 4 {
				middle.stop()
				appendFor(15 * time.Minute)
				middle.start()
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond) // perhaps long enough to relay some
			}
			appendFor(time.Minute)
			time.Sleep(2 * time.Minute)
			got := testkit.ReadAll(t, last.log, "in", 1, wal.AllLanes)
			if len(got) != i {
				t.Errorf("seed %d: got %d events, want %d", seed, len(got), i)
			}
			for at := range got {
				if string(got[at].Data) != fmt.Sprint(at) || got[at].Time != int64(at+1) {
					t.Errorf("seed %d: got event %s in place %d", seed, got[at].Data, at)
					break
				}
			}
			for _, h := range []*hop{first, middle} {
				if left := h.cursor.Stat().Pending.Events; left > 0 {
					t.Errorf("seed %d: %d events are pending at %s", seed, left, h.name)
				}
			}
			for _, h := range []*hop{first, middle, last} {
				h.stop()
			}
		})
	}
}
