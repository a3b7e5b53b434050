package mqttin

import (
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/wal"
)

// session is the state of a client that outlives its connections.
type session struct {
	expiry uint32 // seconds after the end of the connection
	lasts  bool   // the session is not to end with its connection, so its publishes of QoS 2 have receipts

	mu   sync.Mutex
	held map[uint16]held // the packet identifiers of QoS 2 that the client has not released; guarded by mu
}

// setExpiry sets the expiry in seconds. A session that had receipts once goes on with them.
func (s *session) setExpiry(seconds uint32) {
	s.expiry = seconds
	s.lasts = s.lasts || seconds > 0
}

// held is a publish of QoS 2 whose packet identifier is not released.
type held struct {
	sum    uint64
	stream string // of the stored event; empty: none is known to be stored
	first  uint64 // its offset; 0: not known
	acked  bool   // PUBREC was sent, or would have been
}

// maxHeld bounds the packet identifiers of a session. A client of version 5 that keeps to the receive maximum has fewer.
const maxHeld = 1024

// hold adds a publish of QoS 2. repeated reports that the session holds it already. A client that has lost its state may use
// a held packet identifier for another publish: without DUP, or with another sum. The error is for one beyond maxHeld.
func (s *session) hold(packetID uint16, sum uint64, dup bool) (repeated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.held[packetID]
	switch {
	case known && dup && before.sum == sum:
		return true, nil
	case !known && len(s.held) >= maxHeld:
		return false, packets.ErrReceiveMaximum
	case s.held == nil:
		s.held = make(map[uint16]held)
	}
	s.held[packetID] = held{sum: sum}
	return false, nil
}

// holding returns the publish as the session holds it. known is false if it does not.
func (s *session) holding(packetID uint16, sum uint64) (h held, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known = s.held[packetID]
	return h, known && h.sum == sum
}

// conclude records the outcome of a held publish. Those that were not stored are no longer held. One that is stored and not acked
// awaits its delivery when it comes again.
func (s *session) conclude(u *unacked, acked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known := s.held[u.packetID]
	switch {
	case !known || h.sum != u.sum: // another publish has taken the packet identifier
	case u.stored:
		h.stream, h.first, h.acked = u.Stream, u.first, h.acked || acked
		s.held[u.packetID] = h
	default:
		delete(s.held, u.packetID)
	}
}

// restore adds the publishes with the receipts.
func (s *session) restore(receipts []wal.Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lasts = true
	s.held = make(map[uint16]held, len(receipts))
	for _, r := range receipts {
		s.held[uint16(r.ID)] = held{sum: r.Sum, stream: r.Stream, first: r.First, acked: true} // perhaps
	}
}

// ackedAs reports whether the session holds an acked publish with the packet identifier, and whether it holds any.
func (s *session) ackedAs(packetID uint16) (acked, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known := s.held[packetID]
	return h.acked, known
}

// release removes a packet identifier.
func (s *session) release(packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, packetID)
}

// endSession discards the receipts of a session that ends with the connection although it was to last.
func (c *client) endSession() {
	if c.session.lasts && c.session.expiry == 0 {
		c.discardReceipts() // after an error the client's next session begins with them
	}
}

// receivePubrel releases a packet identifier of QoS 2. The response is success for an unknown identifier too: a client sends PUBREL
// after a PUBREC, so the event is stored, and clients report any other reason code as a failure.
func (c *client) receivePubrel(h packets.FixedHeader, body []byte) error {
	pk := packets.Packet{FixedHeader: h, ProtocolVersion: c.version}
	if err := pk.PubrelDecode(body); err != nil || pk.PacketID == 0 {
		return packets.ErrMalformedPacket
	}
	acked, known := c.session.ackedAs(pk.PacketID)
	switch {
	case known && !acked:
		return packets.ErrProtocolViolation // PUBREL before PUBREC
	case known && c.session.lasts:
		t, err := c.listener.in.Log.DiscardReceipts(c.key.owner(), uint64(pk.PacketID))
		if err != nil {
			return packets.Code{Code: packets.ErrServerBusy.Code, Reason: err.Error()}
		}
		c.enqueue(&unacked{packetID: pk.PacketID, discarded: t})
		return nil
	}
	c.session.release(pk.PacketID)
	return c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: pk.PacketID})
}
