package socketin

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// Listener is the listener of newline-delimited JSON.
type Listener struct {
	in      *intake.Intake
	maxLine int
	budget  *budget.Budget // bytes of unfinished lines of all connections
	tls     *tls.Config

	ctx    context.Context // of every connection; ends with Cut
	cancel context.CancelFunc
	open   sync.WaitGroup // connections

	mu      sync.Mutex
	conns   map[net.Conn]struct{} // guarded by mu
	drained bool                  // guarded by mu; no connection is added any more
	closing net.Listener          // guarded by mu
}

func New(in *intake.Intake, maxLine int, secure *tls.Config) *Listener {
	w := &Listener{
		in: in, maxLine: maxLine, tls: secure, budget: in.NewBudget(maxLine),
		conns: make(map[net.Conn]struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// RejectConn is the response to a rejected connection.
func RejectConn(line string) string { return line }

// Serve serves the connections of l until Drain or Cut.
func (w *Listener) Serve(l net.Listener) error {
	w.mu.Lock()
	w.closing = l
	drained := w.drained
	w.mu.Unlock()
	if drained {
		return net.ErrClosed
	}
	l = w.in.Conns.Listener(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		w.add(conn)
	}
}

func (w *Listener) add(raw net.Conn) {
	conn := raw
	if w.tls != nil {
		conn = tls.Server(raw, w.tls)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drained {
		conn.Close()
		return
	}
	w.conns[conn] = struct{}{}
	w.open.Go(func() {
		defer w.remove(conn)
		newConnection(w, conn, raw.(*connlimit.Conn)).serve(w.ctx)
	})
}

func (w *Listener) remove(conn net.Conn) {
	conn.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, conn)
}

// Drain wakes every connection that waits for a line. Each responds to its submitted lines and closes.
func (w *Listener) Drain() {
	w.end(func(conn net.Conn) { conn.SetReadDeadline(time.Unix(1, 0)) })
	w.open.Wait()
}

// Cut closes every connection.
func (w *Listener) Cut() {
	w.cancel()
	w.end(func(conn net.Conn) { conn.Close() })
}

// end closes the listener and calls each for every connection.
func (w *Listener) end(each func(net.Conn)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = true
	if w.closing != nil {
		w.closing.Close()
	}
	for conn := range w.conns {
		each(conn)
	}
}
