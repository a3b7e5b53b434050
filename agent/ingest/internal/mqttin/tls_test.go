package mqttin_test

import (
	"bufio"
	"crypto/tls"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// A takeover and a stop interrupt a read of TLS, after which the client still gets the reason.
func TestTLS_ClientsGetTheReasonOfTheirEnd(t *testing.T) {
	authority := certkit.New(t, t.TempDir(), "ca")
	pair, err := tls.LoadX509KeyPair(authority.Issue("agent", certkit.Localhost("agent")))
	if err != nil {
		t.Fatal(err)
	}
	for _, websocket := range []bool{false, true} {
		log := ingestkit.NewLog(t)
		s := serve(t, ingest.Options{Log: log, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
		secure := func() *peer {
			p := dial(t, s, 5)
			p.conn = tls.Client(p.conn, authority.Client("", "localhost"))
			p.from = bufio.NewReader(p.conn)
			if websocket {
				p.upgrade(websocketKey + subprotocol)
				p.conn = &frames{Conn: p.conn, from: p.from}
				p.from = bufio.NewReader(p.conn)
			}
			p.open(packets.ConnectParams{ClientIdentifier: "dev", Clean: true}, packets.Properties{})
			return p
		}
		older := secure()
		older.publish(topic, "a", 1, 1)
		older.expect(packets.Puback, 1, 0)
		newer := secure()
		older.expect(packets.Disconnect, 0, 0x8e)
		newer.publish(topic, "b", 2, 1)
		newer.expect(packets.Pubrec, 1, 0)
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		newer.expect(packets.Disconnect, 0, 0x8b)
		if got := log.Stored(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("got %q", got)
		}
	}
}
