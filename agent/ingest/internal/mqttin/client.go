package mqttin

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/wal"
)

const (
	// packetTimeout is the time for the rest of a packet that has begun to arrive, and again for each packetStep bytes.
	packetTimeout = 30 * time.Second
	packetStep    = 256 << 10
	// writeTimeout is the time for a write. A client that does not read is disconnected.
	writeTimeout = 10 * time.Second
)

// client is one connection. Its own goroutine reads packets and submits publishes. A second goroutine acknowledges them, and ends
// when none is left (backlog).
type client struct {
	listener *Listener
	known    *connlimit.Conn
	conn     net.Conn // known, or TLS or a websocket above it; of the own goroutines
	reader   packetReader
	state    *tls.ConnectionState // nil: no TLS
	began    time.Time            // when the unfinished packet in reader began to arrive; zero: there is none

	ctx    context.Context    // of the submissions and waits; its pass is that of the client
	cancel context.CancelFunc // also by the client's next connection
	done   chan struct{}      // closed when the client has submitted and acknowledged its last publish

	id        string
	assigned  bool // id is not the client's own
	key       clientKey
	version   byte
	keepAlive time.Duration
	outMods   packets.Mods // for encoding packets to the client
	aliases   aliases
	session   *session
	will      *will
	publish   publisher

	chain   wal.Chain // of version 3.1.1
	backlog backlog

	out    []byte     // acknowledgements that were not written yet; of the responding goroutine
	broken bool       // the connection has ended, or must end; of the responding goroutine
	writes sync.Mutex // held during a write
	cause  atomic.Pointer[packets.Code]
}

func newClient(l *Listener, conn *connlimit.Conn) *client {
	c := &client{listener: l, known: conn, conn: conn, done: make(chan struct{})}
	if l.tls != nil {
		c.conn = tls.Server(conn, l.tls)
	}
	c.reader = packetReader{from: c, max: l.maxPacket, budget: l.budget, first: true}
	c.ctx, c.cancel = context.WithCancel(l.ctx)
	c.backlog.changed.L = &c.backlog.mu
	return c
}

// serve serves the connection until it ends.
func (c *client) serve() {
	defer c.cancel()
	defer c.reader.giveUp()
	c.conn.SetDeadline(time.Now().Add(intake.HandshakeTimeout))
	connect, err := c.receiveConnect()
	if err != nil {
		c.rejectConnect(err)
		return
	}
	before, ok := c.listener.clients.enter(c, connect)
	if !ok {
		c.rejectConnect(packets.ErrServerUnavailable)
		return
	}
	defer close(c.done)
	defer c.listener.clients.leave(c)
	present, err := c.resume(before, connect.Connect.Clean)
	if err != nil {
		c.rejectConnect(err)
		return
	}
	if err = c.acceptConnect(connect, present); err == nil {
		err = c.receive()
	}
	if c.gone(err) {
		c.cancel() // no acknowledgement can be sent any more, so deliveries are not awaited
	}
	c.backlog.awaitEnd()
	c.disconnect(err)
	if !c.listener.in.IsDraining() {
		c.sendWill()
	}
}

// gone reports whether the connection has ended with an error of the network.
func (c *client) gone(err error) bool {
	_, ours := errors.AsType[packets.Code](err)
	return !ours && !errors.Is(err, errDisconnected) && !c.listener.in.IsDraining()
}

// Read reads from the connection, for reader. It sets the time for the next packet, or for the rest of this one.
func (c *client) Read(p []byte) (int, error) {
	pending := c.reader.pending()
	switch {
	case c.session == nil: // the time for the handshake runs
	case pending > 0:
		if c.began.IsZero() {
			c.began = time.Now()
		}
		c.conn.SetReadDeadline(c.began.Add(packetTimeout * time.Duration(1+pending/packetStep)))
	default:
		c.began = time.Time{}
		next := time.Time{}
		if c.keepAlive > 0 {
			next = time.Now().Add(c.keepAlive + c.keepAlive/2) // MQTT 5, section 3.1.2.10
		}
		c.conn.SetReadDeadline(next)
	}
	// A drain or a takeover sets a deadline in the past after it has set the state that ends the client.
	if c.listener.in.IsDraining() {
		return 0, intake.ErrDraining
	}
	if cause := c.cause.Load(); cause != nil {
		return 0, *cause
	}
	n, err := c.conn.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// wake ends a read of the client, which looks for the reason then.
func (c *client) wake() { c.known.SetReadDeadline(past) }

// end lets the client end with a reason that it sends.
func (c *client) end(cause packets.Code) {
	c.cause.CompareAndSwap(nil, &cause)
	c.wake()
}

// errDisconnected is the end of a client that has sent DISCONNECT.
var errDisconnected = errors.New("the client has disconnected")

// receive takes packet after packet until there are no more.
func (c *client) receive() error {
	for {
		h, body, err := c.reader.next()
		if err != nil {
			return c.because(err)
		}
		c.began = time.Time{} // a part of the next packet may be in the buffer
		if err := c.handle(h, body); err != nil {
			return err
		}
	}
}

// because returns the reason why a read has failed.
func (c *client) because(err error) error {
	cause := c.cause.Load()
	switch {
	case cause != nil:
		return *cause
	case c.listener.in.IsDraining():
		return packets.ErrServerShuttingDown
	case errors.Is(err, os.ErrDeadlineExceeded):
		return packets.ErrKeepAliveTimeout
	}
	return err
}

// handle handles a packet after CONNECT. The error ends the client.
func (c *client) handle(h packets.FixedHeader, body []byte) error {
	switch h.Type {
	case packets.Publish:
		return c.receivePublish(h, body)
	case packets.Pubrel:
		return c.receivePubrel(h, body)
	case packets.Pingreq:
		return c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
	case packets.Subscribe, packets.Unsubscribe:
		return c.rejectSubscription(h, body)
	case packets.Disconnect:
		return c.receiveDisconnect(h, body)
	}
	return packets.ErrProtocolViolation // also PUBACK, PUBREC and PUBCOMP: the client is sent no publish
}

// receiveDisconnect ends the client. It drops the will, except with the reason code "disconnect with will".
func (c *client) receiveDisconnect(h packets.FixedHeader, body []byte) error {
	pk := packets.Packet{FixedHeader: h, ProtocolVersion: c.version}
	if err := pk.DisconnectDecode(body); err != nil {
		return packets.ErrMalformedPacket
	}
	// The decoder skips a reason code without properties.
	if len(body) == 0 || c.version < 5 || body[0] != packets.CodeDisconnectWillMessage.Code {
		c.will = nil
	}
	if pk.Properties.SessionExpiryIntervalFlag {
		c.session.expiry = min(pk.Properties.SessionExpiryInterval, maxExpiry)
	}
	return errDisconnected
}

// rejectSubscription responds to SUBSCRIBE and UNSUBSCRIBE: the listener publishes nothing.
func (c *client) rejectSubscription(h packets.FixedHeader, body []byte) error {
	pk := packets.Packet{FixedHeader: h, ProtocolVersion: c.version}
	response := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Suback}}
	code, err := packets.ErrNotAuthorized.Code, error(nil)
	if h.Type == packets.Subscribe {
		err = pk.SubscribeDecode(body)
		response.Properties.ReasonString = "this listener takes publishes only"
		if c.version < 5 {
			code = packets.ErrUnspecifiedError.Code
		}
	} else {
		err = pk.UnsubscribeDecode(body)
		response.FixedHeader.Type = packets.Unsuback
		code = packets.CodeNoSubscriptionExisted.Code
	}
	switch {
	case err != nil:
		return packets.ErrMalformedPacket
	case len(pk.Filters) == 0 || pk.PacketID == 0:
		return packets.ErrProtocolViolation
	}
	response.PacketID = pk.PacketID
	for range pk.Filters {
		response.ReasonCodes = append(response.ReasonCodes, code)
	}
	return c.send(response)
}

// disconnect ends the connection. A client of version 5 gets the reason if it is not its own. A client that has seen the end of
// its connection never finds a session that was to end with it, also not in an agent that starts then.
func (c *client) disconnect(err error) {
	code, ours := errors.AsType[packets.Code](err)
	if ours && c.version == 5 {
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code.Code}
		pk.Properties.ReasonString = code.Reason
		c.send(pk)
	}
	c.endSession()
	c.linger(ours)
	c.conn.Close()
}

// lingerFor is the time for which a connection is read on after the agent has ended it.
const lingerFor = 250 * time.Millisecond

// linger gives the last acknowledgements time to arrive: a TCP connection that is closed with unread bytes resets, and the
// client may lose those that it has not read yet.
func (c *client) linger(ours bool) {
	tcp, ok := c.known.NetConn().(*net.TCPConn)
	if !ok || !ours || c.conn != c.known {
		return
	}
	tcp.CloseWrite()
	tcp.SetReadDeadline(time.Now().Add(lingerFor))
	io.Copy(io.Discard, tcp)
}
