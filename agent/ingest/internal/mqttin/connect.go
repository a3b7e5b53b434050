package mqttin

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
)

// maxClientID is the largest number of bytes of a client identifier.
const maxClientID = 256

// receiveConnect receives CONNECT and admits the client. The error is a packets.Code for a rejection.
func (c *client) receiveConnect() (*packets.Packet, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	h, body, err := c.reader.next()
	if err != nil {
		return nil, err
	}
	pk := packets.Packet{FixedHeader: h}
	if h.Type != packets.Connect {
		return nil, errNoConnect
	}
	c.version = 4
	if err := pk.ConnectDecode(append([]byte(nil), body...)); err != nil { // its strings are parts of the copy
		return nil, packets.ErrMalformedPacket
	}
	if string(pk.Connect.ProtocolName) != "MQTT" {
		return nil, errNoConnect
	}
	if pk.ProtocolVersion != 4 && pk.ProtocolVersion != 5 {
		return nil, packets.ErrUnsupportedProtocolVersion
	}
	c.version = pk.ProtocolVersion
	if fault := validateConnect(&pk); fault != nil {
		return nil, fault
	}
	c.limitResponses(&pk)
	if err := c.identify(&pk); err != nil {
		return nil, err
	}
	c.keepAlive = time.Duration(pk.Connect.Keepalive) * time.Second
	c.will = willOf(&pk.Connect)
	return &pk, nil
}

// open completes the handshake of TLS, and that of a websocket, whose request begins with a byte that no CONNECT begins with.
func (c *client) open() error {
	if t, ok := c.conn.(*tls.Conn); ok {
		if err := t.HandshakeContext(c.ctx); err != nil {
			return err
		}
		at := t.ConnectionState()
		c.state = &at
	}
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return err
	}
	if first[0] != http.MethodGet[0] {
		c.reader.buf = append(make([]byte, 0, firstBuffer), first[0])
		return nil
	}
	conn, err := acceptWebsocket(c.conn, first[0], c.listener.origins)
	if err == nil {
		c.conn = conn
	}
	return err
}

var errNoConnect = errors.New("the first packet is no CONNECT of MQTT")

// validateConnect returns the fault of a decoded CONNECT. Those that the decoder accepts, as an empty will or password, are
// valid (MQTT 5, section 3.1).
func validateConnect(pk *packets.Packet) error {
	p := &pk.Connect
	switch {
	case pk.ReservedBit != 0, p.WillQos > 2, !p.WillFlag && (p.WillQos != 0 || p.WillRetain):
		return packets.ErrMalformedPacket
	case pk.ProtocolVersion < 5 && p.PasswordFlag && !p.UsernameFlag:
		return packets.ErrMalformedPacket
	case !utf8.Valid(p.Username):
		return packets.ErrMalformedPacket
	case p.WillFlag && !topicmap.ValidTopic(p.WillTopic):
		return packets.ErrTopicNameInvalid
	case len(p.ClientIdentifier) > maxClientID, p.ClientIdentifier == "" && pk.ProtocolVersion < 5 && !p.Clean:
		return packets.ErrClientIdentifierNotValid
	case pk.Properties.AuthenticationMethod != "":
		return packets.ErrBadAuthenticationMethod
	}
	return nil
}

// limitResponses notes the limits of the client for the packets that it gets.
func (c *client) limitResponses(pk *packets.Packet) {
	c.outMods = packets.Mods{
		MaxSize:             pk.Properties.MaximumPacketSize,
		DisallowProblemInfo: pk.Properties.RequestProblemInfoFlag && pk.Properties.RequestProblemInfo == 0,
	}
}

// identify admits the client by its password, which is a token, or else by its certificate or process. The user name must be
// the name of the identity that has the token.
func (c *client) identify(pk *packets.Packet) error {
	if c.id = pk.Connect.ClientIdentifier; c.id == "" {
		c.id, c.assigned = "auto-"+rand.Text(), true
	}
	in := c.listener.in
	if in.Guard == nil {
		return nil
	}
	token := string(pk.Connect.Password)
	ctx, refused := in.Admit(c.ctx, intake.ShownBy(c.known.RemoteAddr(), c.state).WithToken(token))
	if refused != nil {
		return packets.Code{Code: packets.ErrBadUsernameOrPassword.Code, Reason: refused.Text}
	}
	c.ctx = ctx
	name, user := in.SenderOf(ctx).Name(), string(pk.Connect.Username)
	if token != "" && user != "" && name != "" && user != name {
		return packets.Code{Code: packets.ErrBadUsernameOrPassword.Code, Reason: "the user name is not that of the identity with this token"}
	}
	return nil
}

// acceptConnect sends CONNACK with the listener's limits.
func (c *client) acceptConnect(connect *packets.Packet, present bool) error {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, SessionPresent: present}
	pk.Properties = packets.Properties{
		ReceiveMaximum: depth, TopicAliasMaximum: maxAliases, MaximumPacketSize: c.listener.maxPacketSize(),
		WildcardSubAvailableFlag: true, SubIDAvailableFlag: true, SharedSubAvailableFlag: true, // all of them 0: not available
	}
	if c.assigned {
		pk.Properties.AssignedClientID = c.id
	}
	if c.session.expiry != connect.Properties.SessionExpiryInterval {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = c.session.expiry, true
	}
	c.conn.SetDeadline(time.Time{})
	return c.send(pk)
}

// maxPacketSize returns the limit of a whole packet.
func (l *Listener) maxPacketSize() uint32 {
	const header = 5 // bytes of the largest fixed header
	return uint32(min(int64(l.maxPacket)+header, math.MaxUint32))
}

// rejectConnect sends CONNACK with the reason, if the client is one of MQTT.
func (c *client) rejectConnect(err error) {
	code, ok := errors.AsType[packets.Code](err)
	if !ok || c.version == 0 {
		return
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, ReasonCode: code.Code}
	pk.Properties.ReasonString = code.Reason
	if c.version < 5 {
		old, known := returnCodes[code.Code]
		if !known {
			return // version 3.1.1 has no code for it: the connection is closed
		}
		pk.ReasonCode = old
	}
	c.send(pk)
	c.linger(true)
}

// returnCodes are the return codes of version 3.1.1 for reason codes (MQTT 3.1.1, section 3.2.2.3).
var returnCodes = map[byte]byte{
	packets.ErrUnsupportedProtocolVersion.Code: 1,
	packets.ErrClientIdentifierNotValid.Code:   2,
	packets.ErrServerUnavailable.Code:          3,
	packets.ErrBadUsernameOrPassword.Code:      5,
	packets.ErrNotAuthorized.Code:              5,
}
