package ingest

import (
	"cmp"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
)

// inflow bounds what the requests of a gRPC listener hold that have not arrived whole, and how many there
// are under way. gRPC reads each into memory as it comes, up to MaxRequestSize, and knows no bound of them together; so
// the frames of each connection are looked at as they pass, and a request for which there is no room is ended
// towards both sides, as its producer and gRPC might have ended it themselves.
type inflow struct {
	in      *intake
	room    room // in bytes, freeInflow of each connection not counted
	streams room // in requests, freeStreams of each connection not counted
	largest int  // a longer message is refused by gRPC, unread

	mu    sync.Mutex
	conns map[*inflowConn]struct{} // guarded by mu
	swept time.Time                // guarded by mu
}

const (
	freeInflow  = 64 << 10
	freeStreams = 4
	// frameCost is what gRPC holds of a frame of data beside its bytes.
	frameCost = 96
	// inflowStep is the step in which a connection takes room.
	inflowStep = 64 << 10
	// A message that has not grown for partialSilence, or is not whole after partialTime and as long again for each
	// partialRate bytes, gives way to others.
	partialSilence = 10 * time.Second
	partialTime    = 30 * time.Second
	partialRate    = 256 << 10
	// sweepEvery is how often those are looked for at most.
	sweepEvery = time.Second
)

var (
	errNoInflow = &refusal{
		code: codes.Unavailable, reason: ReasonBusy, event: noEvent, retry: retryFull,
		text: "the listener holds as many bytes of requests as it may: this one had not arrived whole, and nothing of it was stored",
	}
	errNoStreamFree = &refusal{
		code: codes.Unavailable, reason: ReasonBusy, event: noEvent, retry: retryFull,
		text: "the listener has as many requests under way as it may: nothing of this one was stored",
	}
)

func newInflow(in *intake, o *Options) *inflow {
	i := &inflow{in: in, largest: o.MaxRequestSize, conns: make(map[*inflowConn]struct{})}
	i.room.give(cmp.Or(o.room, max(minRoom, 4*int64(o.MaxRequestSize))))
	i.streams.give(2 * int64(o.MaxStreams))
	return i
}

// heldWhole is the room that a request takes which has arrived whole and of which size bytes are held.
func heldWhole(size int) int64 {
	if size <= freeInflow {
		return 0
	}
	return int64(size)
}

// inflowCredentials let the frames be looked at above TLS.
type inflowCredentials struct {
	credentials.TransportCredentials
	inflow *inflow
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

func (i *inflow) add(conn net.Conn) *inflowConn {
	c := &inflowConn{Conn: conn, inflow: i, requests: make(map[uint32]*partial)}
	if known, ok := conn.(*connlimit.Conn); ok {
		c.known, c.ready = known, newReadyReader(known.NetConn())
	}
	c.in.preface = prefaceBytes
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conns[c] = struct{}{}
	return c
}

// sweep refuses the requests of all connections that have had their time, and reports whether it looked for them.
// No lock of a connection is held.
func (i *inflow) sweep(now time.Time) bool {
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
