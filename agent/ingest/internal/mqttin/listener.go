package mqttin

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
)

// Options are the settings that only an MQTT listener has.
type Options struct {
	Topics  []topicmap.Route // the first one that matches counts
	Origins []string         // of the web pages that may connect by websocket; "*": any
}

// Config is Options with the listener's other settings.
type Config struct {
	Options
	MaxPacketSize int // bytes of a packet after its fixed header
	TLS           *tls.Config
}

// Listener is the listener of MQTT.
type Listener struct {
	in        *intake.Intake
	maxPacket int
	tls       *tls.Config
	topics    *topicmap.Map
	origins   []string
	budget    *budget.Budget // bytes of unfinished packets of all connections
	clients   registry

	ctx    context.Context // of every connection; ends with Cut
	cancel context.CancelFunc
	open   sync.WaitGroup // connections

	mu      sync.Mutex
	conns   map[*client]struct{} // guarded by mu
	drained bool                 // guarded by mu; no connection is added any more
	closing net.Listener         // guarded by mu
}

// New returns a listener. The error is a fault in the topics.
func New(in *intake.Intake, c Config) (*Listener, error) {
	topics, err := topicmap.New(c.Topics)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		in: in, maxPacket: c.MaxPacketSize, tls: c.TLS, topics: topics, origins: c.Origins, budget: in.NewBudget(c.MaxPacketSize),
		conns: make(map[*client]struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// Serve serves the connections of nl until Drain or Cut.
func (l *Listener) Serve(nl net.Listener) error {
	l.mu.Lock()
	l.closing = nl
	drained := l.drained
	l.mu.Unlock()
	if drained {
		return net.ErrClosed
	}
	nl = l.in.Conns.Listener(nl)
	for {
		conn, err := nl.Accept()
		if err != nil {
			return err
		}
		l.add(conn.(*connlimit.Conn))
	}
}

func (l *Listener) add(conn *connlimit.Conn) {
	c := newClient(l, conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drained {
		conn.Close()
		return
	}
	l.conns[c] = struct{}{}
	l.open.Go(func() {
		defer l.remove(c)
		c.serve()
	})
}

func (l *Listener) remove(c *client) {
	c.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// Drain wakes every connection that waits for a packet. Each acknowledges its submitted publishes, sends DISCONNECT and
// closes.
func (l *Listener) Drain() {
	l.end(func(c *client) { c.wake() })
	l.open.Wait()
}

// Cut closes every connection.
func (l *Listener) Cut() {
	l.cancel()
	l.end(func(c *client) { c.known.Close() })
}

// end closes the listener and calls each for every connection.
func (l *Listener) end(each func(*client)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drained = true
	if l.closing != nil {
		l.closing.Close()
	}
	for c := range l.conns {
		each(c)
	}
}

// past is a deadline that ends every read.
var past = time.Unix(1, 0)
