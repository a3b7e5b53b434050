//go:build unix

package e2e_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A link is a TCP proxy that breaks on purpose: while it is bad, every connection may carry a random
// number of bytes each way, and is reset when one of the two is spent. A request that is cut has not
// happened, or in part; a reply that is cut leaves its outcome unknown. While it is still, connections carry nothing.
type link struct {
	listener net.Listener
	target   string
	up, down int64 // a bad connection carries at most so many bytes each way
	bad      atomic.Bool
	still    atomic.Bool
	cuts     atomic.Int64

	mu   sync.Mutex
	r    *rand.Rand            // guarded by mu
	open map[net.Conn]struct{} // guarded by mu
	all  sync.WaitGroup
}

func startLink(t *testing.T, target string, up, down int64, seed uint64) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, target: target, up: up, down: down, r: rand.New(rand.NewPCG(seed, 1)), open: make(map[net.Conn]struct{})}
	k.all.Go(k.serve)
	t.Cleanup(k.close)
	return k
}

func (k *link) endpoint() string { return "http://" + k.listener.Addr().String() }

func (k *link) close() {
	k.listener.Close()
	k.still.Store(false)
	k.cutAll()
	k.all.Wait()
}

// cutAll resets every open connection.
func (k *link) cutAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.open {
		reset(c)
	}
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

func (k *link) serve() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.all.Go(func() { k.carry(c) })
	}
}

func (k *link) carry(client net.Conn) {
	server, err := net.Dial("tcp", k.target)
	if err != nil {
		reset(client)
		return
	}
	k.track(client, server)
	defer k.forget(client, server)
	up, down := k.budgets()
	end := func() { reset(client); reset(server) }
	var both sync.WaitGroup
	both.Go(func() { k.copy(server, client, up); end() })
	both.Go(func() { k.copy(client, server, down); end() })
	both.Wait()
}

// copy carries bytes until one side ends or the budget is spent while the link is bad.
func (k *link) copy(to io.Writer, from io.Reader, budget int64) {
	for {
		if _, err := io.CopyN(stills{to, k}, from, budget); err != nil {
			return
		}
		if k.bad.Load() {
			k.cuts.Add(1)
			return
		}
	}
}

// stills is an end of a connection that gets nothing while the link is still.
type stills struct {
	io.Writer
	k *link
}

func (s stills) Write(b []byte) (int, error) {
	for s.k.still.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	return s.Writer.Write(b)
}

// budgets are the bytes that one connection may carry.
func (k *link) budgets() (up, down int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return 1 + k.r.Int64N(k.up), 1 + k.r.Int64N(k.down)
}

func (k *link) track(cs ...net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range cs {
		k.open[c] = struct{}{}
	}
}

func (k *link) forget(cs ...net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range cs {
		delete(k.open, c)
	}
}

func TestLink_CarriesAndCuts(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	k := startLink(t, echo.Addr().String(), 60_000, 6_000, 1)
	if got, err := through(k, 200_000); got != 200_000 {
		t.Errorf("good: got %d bytes back (%v), want 200000", got, err)
	}
	k.bad.Store(true)
	if got, err := through(k, 200_000); got == 200_000 || err == nil || k.cuts.Load() == 0 {
		t.Errorf("bad: got %d bytes back (%v) and %d cuts, want less, an error and a cut", got, err, k.cuts.Load())
	}
}

// through sends n bytes over the link to an echo and counts the bytes that come back.
func through(k *link, n int) (int, error) {
	c, err := net.Dial("tcp", k.listener.Addr().String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	go c.Write(make([]byte, n))
	return io.ReadFull(c, make([]byte, n))
}
