package mqttin_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/mqttkit"
)

// routes are the topics of the listeners of the tests.
var routes = []topicmap.Route{
	{Filter: "site/+/sensor/+/#", Stream: "text", Key: "${topic[3]}"},
	{Filter: "json/#", Stream: "json", Key: "${client_id}"},
	{Filter: "field", Stream: "json", KeyField: "device.id"},
	{Filter: "bytes/#", Stream: "bytes", Key: "${topic}"},
	{Filter: "lost", Stream: "nowhere", Key: "k"},
}

const topic = "site/7/sensor/t1"

// serve starts an MQTT listener.
func serve(t *testing.T, o ingest.Options) *ingest.Server {
	t.Helper()
	o.Type, o.MQTT.Topics = ingest.MQTT, routes
	return ingestkit.Serve(t, o)
}

// peer is a client of MQTT that does nothing by itself.
type peer struct {
	t       *testing.T
	version byte
	conn    net.Conn
	from    *bufio.Reader
	log     *ingestkit.Log // of the listener, for some tests
}

// dial connects to a listener, without CONNECT.
func dial(t *testing.T, s *ingest.Server, version byte) *peer {
	t.Helper()
	conn, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, version: version, conn: conn, from: bufio.NewReader(conn)}
}

// connect connects a client whose session ends with it, and receives CONNACK.
func connect(t *testing.T, s *ingest.Server, version byte) *peer {
	t.Helper()
	p := dial(t, s, version)
	p.open(packets.ConnectParams{ClientIdentifier: "dev", Clean: true}, packets.Properties{})
	return p
}

// open sends CONNECT and receives an accepting CONNACK.
func (p *peer) open(params packets.ConnectParams, properties packets.Properties) packets.Packet {
	p.t.Helper()
	p.hello(params, properties)
	ack := p.receive()
	if ack.FixedHeader.Type != packets.Connack || ack.ReasonCode != 0 {
		p.t.Fatalf("got %s with code %#x, want CONNACK", packets.PacketNames[ack.FixedHeader.Type], ack.ReasonCode)
	}
	return ack
}

// hello sends CONNECT.
func (p *peer) hello(params packets.ConnectParams, properties packets.Properties) {
	p.t.Helper()
	params.ProtocolName = []byte("MQTT")
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: p.version, Connect: params, Properties: properties}
	p.write(pk.ConnectEncode)
}

func (p *peer) write(encode func(*bytes.Buffer) error) {
	p.t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		p.t.Fatal(err)
	}
	p.raw(b.Bytes())
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// publish sends PUBLISH. change alters the packet.
func (p *peer) publish(topic, payload string, qos byte, id uint16, change ...func(*packets.Packet)) {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, ProtocolVersion: p.version, TopicName: topic, Payload: []byte(payload), PacketID: id}
	pk.Mods.AllowResponseInfo = true
	for _, c := range change {
		c(&pk)
	}
	p.write(pk.PublishEncode)
}

func (p *peer) pubrel(id uint16) {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, ProtocolVersion: p.version, PacketID: id}
	p.write(pk.PubrelEncode)
}

func (p *peer) ping() { p.t.Helper(); p.raw([]byte{packets.Pingreq << 4, 0}) }

func (p *peer) next() (packets.Packet, error) { return mqttkit.Read(p.from, p.version) }

// receive reads a packet.
func (p *peer) receive() packets.Packet {
	p.t.Helper()
	pk, err := p.next()
	if err != nil {
		p.t.Fatalf("receive a packet: %v", err)
	}
	return pk
}

// expect receives a packet of the type, with the packet identifier and the reason code.
func (p *peer) expect(kind byte, id uint16, code byte) packets.Packet {
	p.t.Helper()
	pk := p.receive()
	if pk.FixedHeader.Type != kind || pk.PacketID != id || pk.ReasonCode != code {
		p.t.Errorf("got %s of packet %d with code %#x, want %s of %d with %#x", packets.PacketNames[pk.FixedHeader.Type], pk.PacketID, pk.ReasonCode,
			packets.PacketNames[kind], id, code)
	}
	return pk
}

// expectEnd expects the end of the connection, after DISCONNECT with the code in version 5.
func (p *peer) expectEnd(code byte) {
	p.t.Helper()
	if p.version == 5 && code != 0 {
		p.expect(packets.Disconnect, 0, code)
	}
	if pk, err := p.next(); err == nil || !errors.Is(err, io.EOF) {
		p.t.Errorf("got %s, %v, want the end of the connection", packets.PacketNames[pk.FixedHeader.Type], err)
	}
}
