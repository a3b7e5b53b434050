package mqttin

import (
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// session is the state of a client that outlives its connections.
type session struct {
	expiry uint32 // seconds after the end of the connection

	mu   sync.Mutex
	held map[uint16]struct{} // the packet identifiers of QoS 2 that the client has not released; guarded by mu
}

// maxHeld bounds the packet identifiers of a session. A client of version 5 that keeps to the receive maximum has fewer.
const maxHeld = 1024

// hold adds a packet identifier of QoS 2. repeated reports that the session holds it already. The error is for one beyond maxHeld.
func (s *session) hold(packetID uint16) (repeated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.held[packetID]; held {
		return true, nil
	}
	if len(s.held) >= maxHeld {
		return false, packets.ErrReceiveMaximum
	}
	if s.held == nil {
		s.held = make(map[uint16]struct{})
	}
	s.held[packetID] = struct{}{}
	return false, nil
}

// release removes a packet identifier.
func (s *session) release(packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, packetID)
}

// receivePubrel releases a packet identifier of QoS 2. The response is success for an unknown identifier too: a client sends PUBREL
// after a PUBREC, so the event is stored, and clients report any other reason code as a failure.
func (c *client) receivePubrel(h packets.FixedHeader, body []byte) error {
	pk := packets.Packet{FixedHeader: h, ProtocolVersion: c.version}
	if err := pk.PubrelDecode(body); err != nil || pk.PacketID == 0 {
		return packets.ErrMalformedPacket
	}
	response := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: pk.PacketID}
	c.session.release(pk.PacketID)
	return c.send(response)
}

// registry holds the sessions of a listener by client. Two clients with different identities are different ones although they
// have the same identifier.
type registry struct {
	mu  sync.Mutex
	all map[clientKey]*entry // guarded by mu
}

type clientKey struct{ identity, id string }

// entry is the session of a client and its connection.
type entry struct {
	session *session
	client  *client   // nil: not connected
	until   time.Time // the end of the session of a client that is not connected; zero: never
}

const (
	// maxSessions is the number of sessions beyond which those of clients that end are not kept.
	maxSessions = 65536
	// maxExpiry is the longest time in seconds for which a session is kept after its connection, as the log keeps producers.
	maxExpiry = 7 * 24 * 3600
)

// enter begins or resumes the session of a client, after an older connection of the client has ended. present reports whether
// it is resumed. ok is false if the older connection does not end in time.
func (r *registry) enter(c *client, connect *packets.Packet) (present, ok bool) {
	c.key = clientKey{id: c.id}
	if who := c.listener.in.SenderOf(c.ctx); who != nil {
		c.key.identity = who.Name()
	}
	patience := time.NewTimer(intake.HandshakeTimeout)
	defer patience.Stop()
	for {
		older := r.tryEnter(c, connect, &present)
		if older == nil {
			return present, true
		}
		older.end(packets.ErrSessionTakenOver)
		older.cancel() // deliveries are not awaited
		select {
		case <-older.done:
		case <-patience.C:
			return false, false
		case <-c.ctx.Done():
			return false, false
		}
	}
}

// tryEnter enters c, unless another connection of the client is open, which it returns.
func (r *registry) tryEnter(c *client, connect *packets.Packet, present *bool) (older *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[c.key]
	if e != nil && e.client != nil {
		return e.client
	}
	*present = e != nil && !connect.Connect.Clean && (e.until.IsZero() || time.Now().Before(e.until))
	if !*present {
		e = &entry{session: new(session)}
	}
	e.client, c.session = c, e.session
	e.session.expiry = expiryOf(connect)
	if r.all == nil {
		r.all = make(map[clientKey]*entry)
	}
	r.all[c.key] = e
	return nil
}

// expiryOf returns the expiry of a client's session. In version 3.1.1 a session ends with its connection or never.
func expiryOf(connect *packets.Packet) uint32 {
	if connect.ProtocolVersion == 5 {
		return min(connect.Properties.SessionExpiryInterval, maxExpiry)
	}
	if connect.Connect.Clean {
		return 0
	}
	return maxExpiry
}

// leave ends the connection of a client, and keeps its session for the time of its expiry.
func (r *registry) leave(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[c.key]
	if e.client = nil; c.session.expiry == 0 || len(r.all) > maxSessions && !r.sweep() {
		delete(r.all, c.key)
		return
	}
	e.until = time.Now().Add(time.Duration(c.session.expiry) * time.Second)
}

// sweep deletes the sessions that have ended, and reports whether there are few enough now. It holds r.mu.
func (r *registry) sweep() bool {
	now := time.Now()
	for key, e := range r.all {
		if e.client == nil && now.After(e.until) {
			delete(r.all, key)
		}
	}
	return len(r.all) <= maxSessions
}
