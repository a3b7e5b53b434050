package mqttin

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

const (
	// depth bounds the publishes of one client that await their acknowledgement. It is the receive maximum of version 5.
	depth = 256
	// flushAt bounds the bytes of acknowledgements that are gathered while more are ready.
	flushAt = 32 << 10
)

// unacked is a publish that awaits its acknowledgement.
type unacked struct {
	intake.Submission
	qos      byte
	packetID uint16
	sum      uint64 // of QoS 2
	repeated bool   // the publish is stored, or is a submission before this one
	stored   bool   // set by conclude
	first    uint64 // the offset of the stored event; 0: not known (ack level accepted)

	discarded intake.Ticket // of the receipt of a PUBREL, which this is instead of a publish
}

// enqueue adds a publish to those that await their acknowledgement.
func (c *client) enqueue(u *unacked) {
	c.known.BeginRequest()
	if c.backlog.add(u) {
		go c.respond()
	}
}

// respond acknowledges one publish after another. After a publish that ends the client, or a failed write, it goes on to
// conclude the others, and acknowledges none.
func (c *client) respond() {
	for u := c.backlog.take(); u != nil; u = c.backlog.take() {
		if !ready(u) {
			c.flush()
		}
		if u.discarded != nil {
			c.complete(u)
		} else if refused, known := c.conclude(u); known {
			c.acknowledge(u, refused)
		}
		if c.backlog.isEmpty() || len(c.out) >= flushAt {
			c.flush()
		}
		c.known.EndRequest()
	}
}

// ready reports whether conclude would not block.
func ready(u *unacked) bool {
	if u.discarded != nil {
		return isDone(u.discarded)
	}
	switch {
	case u.repeated:
		return false // the delivery of the stored event may have to be awaited
	case u.Rejected != nil, u.Ack == standpipev1.Ack_ACK_ACCEPTED:
		return true
	}
	return isDone(u.Ticket) && u.Ack == standpipev1.Ack_ACK_DURABLE
}

func isDone(t intake.Ticket) bool {
	select {
	case <-t.Done():
		return true
	default:
		return false
	}
}

// conclude awaits the outcome of a publish. It never withdraws it: later publishes of the client may be stored. known is false
// if the listener is cut off before.
func (c *client) conclude(u *unacked) (refused *intake.Rejection, known bool) {
	in := c.listener.in
	var stored wal.Appended
	var err error
	switch {
	case u.repeated:
		before, known := c.session.holding(u.packetID, u.sum)
		if !known { // the submission before this one was rejected
			return intake.Unavailable("the publish that this one repeats was rejected"), true
		}
		u.Submission = in.Repeated(before.stream, 1)
		stored = wal.Appended{First: before.first, Count: 1, Duplicate: true}
	case u.Rejected == nil && u.Ack != standpipev1.Ack_ACK_ACCEPTED:
		select {
		case <-u.Ticket.Done():
			stored, err = u.Ticket.Result()
		case <-c.listener.ctx.Done():
			return nil, false
		}
	}
	u.stored, u.first = u.Rejected == nil && err == nil, stored.First
	_, refused = in.Conclude(c.ctx, &u.Submission, stored, err)
	return refused, true
}

// acknowledge adds the acknowledgement of a publish to the output. A rejection that no acknowledgement can express ends the client.
func (c *client) acknowledge(u *unacked, refused *intake.Rejection) {
	if u.qos == 2 { // also without a connection: the client sends the publish again
		c.session.conclude(u, refused == nil)
	}
	if c.broken || u.qos == 0 {
		return
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: u.packetID}
	if u.qos == 2 {
		pk.FixedHeader.Type = packets.Pubrec
	}
	if refused != nil {
		code, ends := reason(refused, c.version)
		if ends {
			c.flush()
			c.broken = true
			c.end(code)
			return
		}
		pk.ReasonCode, pk.Properties.ReasonString = code.Code, code.Reason
	}
	c.out, _ = c.encode(c.out, &pk)
}

// complete adds PUBCOMP to the output once the receipt of the publish is discarded: from then on the client uses the packet
// identifier for another publish.
func (c *client) complete(u *unacked) {
	select {
	case <-u.discarded.Done():
	case <-c.listener.ctx.Done():
		return
	}
	if _, err := u.discarded.Result(); err != nil {
		if !c.broken {
			c.flush()
			c.broken = true
			c.end(packets.Code{Code: packets.ErrServerBusy.Code, Reason: err.Error()})
		}
		return
	}
	c.session.release(u.packetID)
	if !c.broken {
		c.out, _ = c.encode(c.out, &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: u.packetID})
	}
}

// flush writes the gathered acknowledgements.
func (c *client) flush() {
	if len(c.out) > 0 && !c.broken {
		if err := c.write(c.out); err != nil {
			c.broken = true
			c.conn.Close()
		}
	}
	c.out = c.out[:0]
	if cap(c.out) > idleBuffer {
		c.out = nil
	}
}
