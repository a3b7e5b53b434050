package h2guard

import (
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

// Listener is the interface to the listener whose connections are guarded. Its methods are called from many goroutines.
type Listener interface {
	// Budget returns the budget for the bytes of half-sent requests.
	Budget() *budget.Budget
	// Reject counts a request that the guard ends, and returns the status that its producer gets.
	Reject(cause Cause) *status.Status
}

// Cause is why the guard ends a request.
type Cause int

// The causes.
const (
	OverBudget      Cause = iota // the budget has no bytes for a request that has not arrived whole
	TooManyRequests              // the listener has as many requests in progress as it may
)

// Limits are the bounds of a guard.
type Limits struct {
	MaxMessage int   // bytes; gRPC rejects a longer message without reading it
	MaxStreams int64 // requests in progress, those that each connection has free not counted
}

// Guard bounds the memory of the half-sent requests of a gRPC listener, and the number of requests in progress. The
// package comment states how.
type Guard struct {
	listener Listener
	streams  *budget.Budget // requests, freeStreams of each connection not counted
	largest  int

	mu    sync.Mutex
	conns map[*inflowConn]struct{} // guarded by mu
	swept time.Time                // guarded by mu
}

const (
	freeInflow  = 64 << 10
	freeStreams = 4
	// frameCost is the memory in bytes that gRPC holds for a data frame beside its content.
	frameCost = 96
	// inflowStep is the step in bytes in which a connection acquires the budget.
	inflowStep = 64 << 10
	// A message is overdue if it has not grown for partialSilence, or is not whole after partialTime plus partialTime for
	// each partialRate bytes.
	partialSilence = 10 * time.Second
	partialTime    = 30 * time.Second
	partialRate    = 256 << 10
	// sweepEvery is the shortest time between two searches for overdue messages.
	sweepEvery = time.Second
)

// New returns a guard for the connections of l.
func New(l Listener, limits Limits) *Guard {
	return &Guard{
		listener: l, streams: budget.New(limits.MaxStreams), largest: limits.MaxMessage, conns: make(map[*inflowConn]struct{}),
	}
}

// Credentials returns c with the connections guarded, above TLS.
func (i *Guard) Credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	return inflowCredentials{c, i}
}

// tracked is a connection with an idle timeout. Touch resets it after a read from NetConn.
type tracked interface {
	NetConn() net.Conn
	Touch()
}

// inflowCredentials guard connections above TLS.
type inflowCredentials struct {
	credentials.TransportCredentials
	inflow *Guard
}

func (c inflowCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return c.inflow.add(conn), info, nil
}

func (c inflowCredentials) Clone() credentials.TransportCredentials {
	return inflowCredentials{c.TransportCredentials.Clone(), c.inflow}
}

func (i *Guard) add(conn net.Conn) *inflowConn {
	c := &inflowConn{Conn: conn, inflow: i, requests: make(map[uint32]*partial)}
	if known, ok := conn.(tracked); ok {
		c.known, c.ready = known, newReadyReader(known.NetConn())
	}
	c.in.preface = len(http2.ClientPreface)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conns[c] = struct{}{}
	return c
}

// sweep rejects the overdue requests of all connections, and reports whether it looked for them. The caller holds no lock
// of a connection.
func (i *Guard) sweep(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Sub(i.swept) < sweepEvery {
		return false
	}
	i.swept = now
	for c := range i.conns {
		c.refuseOverdue(now)
	}
	return true
}
