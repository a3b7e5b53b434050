package mqttin

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// maxProperties is the largest number of bytes of a publish's properties, whose decoded form takes many times as much.
const maxProperties = 128 << 10

// message is a publish or a will.
type message struct {
	topic      string
	payload    []byte
	qos        byte
	retain     bool
	will       bool
	receipt    wal.Receipt // of QoS 2, unless the session ends with the connection
	properties packets.Properties
}

// receivePublish submits a publish. The error ends the client.
func (c *client) receivePublish(h packets.FixedHeader, body []byte) error {
	m := message{qos: h.Qos, retain: h.Retain}
	packetID, err := c.decodePublish(&m, body)
	if err != nil {
		return err
	}
	u := &unacked{qos: m.qos, packetID: packetID}
	if m.qos == 2 {
		u.sum = sumOf(&m)
		if u.repeated, err = c.session.hold(packetID, u.sum, h.Dup); err != nil {
			return err
		}
		if c.session.lasts {
			m.receipt = wal.Receipt{Owner: c.key.owner(), ID: uint64(packetID), Sum: u.sum}
		}
		if u.repeated {
			c.enqueue(u)
			return nil
		}
	}
	u.Submission = c.submit(&m)
	c.enqueue(u)
	if u.Rejected != nil && u.qos > 0 {
		if code, ends := reason(u.Rejected, c.version); ends {
			return code
		}
	}
	return nil
}

// decodePublish decodes the body of a PUBLISH. The payload is a part of the body.
func (c *client) decodePublish(m *message, body []byte) (packetID uint16, err error) {
	name, rest, ok := cutString(body)
	if !ok {
		return 0, packets.ErrMalformedPacket
	}
	if m.qos > 0 {
		if len(rest) < 2 {
			return 0, packets.ErrMalformedPacket
		}
		if packetID, rest = binary.BigEndian.Uint16(rest), rest[2:]; packetID == 0 {
			return 0, packets.ErrProtocolViolationNoPacketID
		}
	}
	m.topic = string(name)
	if c.version == 5 {
		if rest, err = decodeProperties(&m.properties, rest); err != nil {
			return 0, err
		}
		if m.topic, err = c.aliases.resolve(m.topic, &m.properties); err != nil {
			return 0, err
		}
	}
	if !topicmap.ValidTopic(m.topic) {
		return 0, packets.ErrTopicNameInvalid
	}
	m.payload = rest
	return packetID, nil
}

// cutString cuts a string with its length off from b.
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}

// decodeProperties decodes the properties that b begins with. It passes only their bytes to the decoder, which would read on
// into the payload.
func decodeProperties(p *packets.Properties, b []byte) (rest []byte, err error) {
	n, length, whole := variableInt(b)
	if !whole || len(b) < length+n {
		return nil, packets.ErrMalformedProperties
	}
	if n > maxProperties {
		return nil, packets.ErrPacketTooLarge
	}
	end := length + n
	if n == 0 {
		return b[end:], nil
	}
	own := bytes.Clone(b[:end]) // the properties' strings are parts of it
	if _, err := p.Decode(packets.Publish, bytes.NewBuffer(own)); err != nil {
		return nil, packets.ErrMalformedProperties
	}
	if len(p.SubscriptionIdentifier) > 0 {
		return nil, packets.ErrProtocolViolationSurplusSubID
	}
	return b[end:], nil
}

// sumOf returns the sum of a message that the client sends again unchanged. The properties are left out.
func sumOf(m *message) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(m.topic)
	d.Write([]byte{0}) // ends the topic, which has none
	d.Write(m.payload)
	return d.Sum64()
}

// publisher is the memory that a client reuses for its publishes.
type publisher struct{ attributes map[string]string }

// submit hands a message to the intake as one event.
func (c *client) submit(m *message) intake.Submission {
	target := c.listener.topics.Find(m.topic)
	if target == nil {
		return rejected(&intake.Rejection{
			Code: codes.NotFound, Reason: intake.ReasonNoStream, Event: intake.NoEvent,
			Text: "topic " + intake.QuoteName(m.topic) + " matches no topic block of the listener",
		})
	}
	if m.properties.PayloadFormat == 1 && !utf8.Valid(m.payload) {
		return rejected(intake.WrongFormat("data of %d bytes is not valid UTF-8, as its payload format indicator promises", len(m.payload)))
	}
	key, refused := c.keyOf(target, m)
	if refused != nil {
		return rejected(refused)
	}
	r := intake.NewRequest()
	defer r.Free()
	r.Batch.Stream, r.Batch.Receipt = target.Stream, m.receipt
	event := wal.Event{Key: key, Data: m.payload, Attributes: c.attributesOf(m)}
	c.listener.in.Clock().On(&event)
	r.Batch.Events = append(r.Batch.Events, event)
	switch {
	case m.qos == 0:
		r.Ack = standpipev1.Ack_ACK_ACCEPTED
	case m.will:
		r.Ack = standpipev1.Ack_ACK_DURABLE // nobody is left for a delivery to be awaited
	}
	if c.version < 5 && m.qos > 0 && !m.will {
		r.Batch.Chain = &c.chain // a rejected publish comes again, and must not come after later ones
	}
	return c.listener.in.Submit(c.ctx, r)
}

func rejected(r *intake.Rejection) intake.Submission {
	return intake.Submission{Events: 1, Rejected: r}
}

func (c *client) keyOf(target *topicmap.Target, m *message) (string, *intake.Rejection) {
	if target.Field != nil {
		return intake.KeyInField(m.payload, target.Field, "")
	}
	return target.Key(m.topic, c.id), nil
}

// attributesOf returns the attributes of a message, in a map that is valid until the next call.
func (c *client) attributesOf(m *message) map[string]string {
	a := c.publish.attributes
	if a == nil {
		a = make(map[string]string)
		c.publish.attributes = a
	}
	clear(a)
	p := &m.properties
	for _, user := range p.User {
		name := user.Key
		if strings.HasPrefix(name, "mqtt.") { // these names are the listener's own
			name = "user." + name
		}
		if before, twice := a[name]; twice {
			user.Val = before + "," + user.Val
		}
		a[name] = user.Val
	}
	a["mqtt.topic"], a["mqtt.qos"], a["mqtt.retain"] = m.topic, digits[m.qos], strconv.FormatBool(m.retain)
	if !c.assigned {
		a["mqtt.client_id"] = c.id
	}
	optional(a, "mqtt.content_type", p.ContentType)
	optional(a, "mqtt.response_topic", p.ResponseTopic)
	if len(p.CorrelationData) > 0 {
		a["mqtt.correlation_data"] = base64.StdEncoding.EncodeToString(p.CorrelationData)
	}
	if p.MessageExpiryInterval > 0 {
		a["mqtt.message_expiry"] = strconv.FormatUint(uint64(p.MessageExpiryInterval), 10)
	}
	if m.will {
		a["mqtt.will"] = "true"
	}
	return a
}

var digits = [...]string{"0", "1", "2"}

func optional(a map[string]string, name, value string) {
	if value != "" {
		a[name] = value
	}
}
