package mqttin_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// upgrade sends the request for a websocket and returns the response.
func (p *peer) upgrade(headers string) *http.Response {
	p.t.Helper()
	fmt.Fprintf(p.conn, "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n%s\r\n", headers)
	r, err := http.ReadResponse(p.from, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// The key and its answer are those of RFC 6455, section 1.3.
const (
	websocketKey    = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	websocketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	subprotocol     = "Sec-WebSocket-Protocol: chat, mqtt\r\n"
)

// frames is a connection whose writes are masked frames of a few bytes, and whose reads are the payloads of frames.
type frames struct {
	net.Conn
	from *bufio.Reader
	left int
}

func (f *frames) Write(p []byte) (int, error) {
	opcode := byte(2)
	for part := range slices.Chunk(p, 3) {
		f.send(opcode, part)
		opcode = 0
	}
	return len(p), nil
}

func (f *frames) send(opcode byte, payload []byte) {
	b := []byte{0x80 | opcode, 0x80 | byte(len(payload)), 1, 2, 3, 4}
	if len(payload) > 125 {
		b = append(binary.BigEndian.AppendUint16([]byte{0x80 | opcode, 0x80 | 126}, uint16(len(payload))), 1, 2, 3, 4)
	}
	for i, c := range payload {
		b = append(b, c^byte(i%4+1))
	}
	f.Conn.Write(b)
}

func (f *frames) Read(p []byte) (int, error) {
	for f.left == 0 {
		var h [2]byte
		if _, err := io.ReadFull(f.from, h[:]); err != nil {
			return 0, err
		}
		f.left = int(h[1])
		if h[0] == 0x8a { // a pong
			io.CopyN(io.Discard, f.from, int64(f.left))
			f.left = 0
		}
	}
	n, err := f.from.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

func TestWebsocket_CarriesPackets(t *testing.T) {
	log := ingestkit.NewLog(t)
	p := dial(t, serve(t, ingest.Options{Log: log}), 5)
	r := p.upgrade(websocketKey + subprotocol)
	if r.StatusCode != 101 || r.Header.Get("Sec-WebSocket-Accept") != websocketAccept || r.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
		t.Fatalf("got %s with %v", r.Status, r.Header)
	}
	f := &frames{Conn: p.conn, from: p.from}
	p.conn, p.from = f, bufio.NewReader(f)
	p.open(packets.ConnectParams{ClientIdentifier: "dev", Clean: true}, packets.Properties{})
	f.send(9, []byte("ping"))
	p.publish(topic, "a", 1, 1)
	p.expect(packets.Puback, 1, 0)
	f.send(2, publishOf(topic, strings.Repeat("b", 700))) // a long frame
	p.expect(packets.Puback, 2, 0)
	if got := log.Stored(); !slices.Equal(got, []string{"a", strings.Repeat("b", 700)}) {
		t.Errorf("got %q", got)
	}
	f.send(8, nil)
	if _, err := p.next(); err != io.EOF {
		t.Errorf("after a close frame: got %v", err)
	}
}

// publishOf returns a PUBLISH of version 5 with QoS 1 and packet identifier 2.
func publishOf(topic, payload string) []byte {
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	body = append(append(body, 0, 2, 0), payload...)
	return append(append([]byte{0x32}, byte(len(body)&0x7f|0x80), byte(len(body)>>7)), body...)
}

func TestWebsocket_RejectedRequests(t *testing.T) {
	o := ingest.Options{Log: ingestkit.NewLog(t)}
	o.MQTT.Origins = []string{"https://shop.example"}
	s := serve(t, o)
	for name, c := range map[string]struct {
		headers string
		want    int
	}{
		"no key":         {subprotocol, 400},
		"no subprotocol": {websocketKey, 400},
		"another page":   {websocketKey + subprotocol + "Origin: https://evil.example\r\n", 403},
		"a page":         {websocketKey + subprotocol + "Origin: https://shop.example\r\n", 101},
	} {
		p := dial(t, s, 5)
		if r := p.upgrade(c.headers); r.StatusCode != c.want {
			t.Errorf("%s: got %s, want %d", name, r.Status, c.want)
		}
	}
}

func TestWebsocket_FaultyFramesEndTheClient(t *testing.T) {
	log := ingestkit.NewLog(t)
	s := serve(t, ingest.Options{Log: log})
	for name, frame := range map[string]string{
		"unmasked": "\x82\x01x", "text": "\x81\x81\x00\x00\x00\x00x", "an extension": "\xc2\x81\x00\x00\x00\x00x", "a long ping": "\x89\xfe\x00\x7e\x00\x00\x00\x00",
		"too long for a packet": "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x10\xff\xff\xff\x7f",
	} {
		p := dial(t, s, 5)
		p.upgrade(websocketKey + subprotocol)
		p.raw([]byte(frame))
		if got, err := io.ReadAll(p.from); err != nil || len(got) > 0 {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
