package mqttin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// A client sends the rest of each packet together with the begin of the next one, for longer than a packet may take.
func TestClient_TheTimeForAPacketBeginsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, its := net.Pipe()
		defer mine.Close()
		defer its.Close()
		l := &Listener{in: &intake.Intake{Options: intake.Options{Draining: make(chan struct{})}}}
		c := &client{listener: l, conn: its, session: new(session), version: 5}
		c.reader = packetReader{from: c, max: 1 << 10, budget: budget.New(1 << 20)}
		go io.Copy(io.Discard, mine)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			const ping = "\xc0\x00"
			mine.Write([]byte(ping[:1]))
			for range 12 {
				time.Sleep(packetTimeout / 3)
				mine.Write([]byte(ping[1:] + ping[:1]))
			}
			mine.Write([]byte(ping[1:] + "\xe0\x00")) // DISCONNECT
		}()
		if err := c.receive(); !errors.Is(err, errDisconnected) {
			t.Errorf("got %v, want the client's own end", err)
		}
		its.Close()
		<-sent
	})
}

func TestClient_SessionAtDisconnectIsBounded(t *testing.T) {
	c := &client{session: new(session), version: 5}
	body := []byte("\x00\x05\x11\xff\xff\xff\xff")
	h := packets.FixedHeader{Type: packets.Disconnect, Remaining: len(body)}
	if err := c.receiveDisconnect(h, body); !errors.Is(err, errDisconnected) || c.session.expiry != maxExpiry {
		t.Errorf("got an expiry of %d s and %v, want %d s", c.session.expiry, err, maxExpiry)
	}
}

func TestSession_HoldsABoundedNumber(t *testing.T) {
	var s session
	for id := range uint16(maxHeld) {
		if repeated, err := s.hold(id+1, 7, false); repeated || err != nil {
			t.Fatalf("packet %d: got %t, %v", id+1, repeated, err)
		}
	}
	if _, err := s.hold(maxHeld+1, 7, false); !errors.Is(err, packets.ErrReceiveMaximum) {
		t.Errorf("got %v for one more", err)
	}
	if repeated, err := s.hold(1, 7, true); !repeated || err != nil {
		t.Errorf("got %t, %v for a repeated one", repeated, err)
	}
	s.release(1)
	if _, err := s.hold(maxHeld+1, 7, false); err != nil {
		t.Errorf("got %v after a release", err)
	}
}

func TestPacketReader_LimitsPacketsThatTakeMoreDecoded(t *testing.T) {
	const length = "\x81\x80\x20" // maxControl + 1
	for name, c := range map[string]struct {
		kind  byte
		first bool
		want  error
	}{
		"a first PUBLISH": {packets.Publish << 4, true, packets.ErrPacketTooLarge},
		"SUBSCRIBE":       {packets.Subscribe<<4 | 2, false, packets.ErrPacketTooLarge},
		"PUBLISH":         {packets.Publish << 4, false, io.EOF},
	} {
		r := packetReader{from: bytes.NewReader(append([]byte{c.kind}, length...)), max: 1 << 20, budget: budget.New(1 << 20), first: c.first}
		if _, _, err := r.next(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	properties := append([]byte("\x81\x80\x08"), make([]byte, maxProperties+1)...)
	if _, err := decodeProperties(new(packets.Properties), properties); !errors.Is(err, packets.ErrPacketTooLarge) {
		t.Errorf("got %v for large properties", err)
	}
}

// A ping comes long after the last packet, whose time for a write has passed.
func TestWebsocket_RespondsToALatePing(t *testing.T) {
	mine, its := net.Pipe()
	its.SetWriteDeadline(past)
	w := &websocket{Conn: its, from: bufio.NewReader(its)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer its.Close()
		w.Read(make([]byte, 1))
	}()
	mine.Write([]byte{0x80 | framePing, 0x80, 1, 2, 3, 4})
	var pong [2]byte
	if _, err := io.ReadFull(mine, pong[:]); err != nil || pong != [2]byte{0x80 | framePong, 0} {
		t.Errorf("got %x, %v", pong, err)
	}
	mine.Close()
	<-ended
}

// pipedClient returns a client without a listening one, and the other end of its connection.
func pipedClient() (c *client, its net.Conn) {
	mine, its := net.Pipe()
	l := &Listener{in: &intake.Intake{Options: intake.Options{Draining: make(chan struct{})}}}
	c = &client{listener: l, conn: mine, session: new(session), version: 5}
	c.reader = packetReader{from: c, max: 1 << 10, budget: budget.New(1 << 20)}
	return c, its
}

func TestClient_KeepAliveExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, its := pipedClient()
		defer its.Close()
		defer c.conn.Close()
		c.keepAlive = 20 * time.Second
		start := time.Now()
		go io.Copy(io.Discard, its)
		go func() {
			time.Sleep(29 * time.Second)
			its.Write([]byte("\xc0\x00")) // PINGREQ
		}()
		if err := c.receive(); !errors.Is(err, packets.ErrKeepAliveTimeout) || time.Since(start) != 59*time.Second {
			t.Errorf("got %v after %v, want the end 30 s after the last packet", err, time.Since(start))
		}
	})
}

func TestClient_ThatNeverReadsIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, its := pipedClient()
		defer its.Close()
		c.out = make([]byte, 10)
		start := time.Now()
		c.flush()
		if _, err := its.Read(make([]byte, 1)); !c.broken || time.Since(start) != writeTimeout || !errors.Is(err, io.EOF) {
			t.Errorf("got broken %t after %v, then %v, want the end after %v", c.broken, time.Since(start), err, writeTimeout)
		}
	})
}

// Packets on both sides of each length of the remaining length, and of the limit, arrive in pieces of every size.
func TestPacketReader_RemainingLengths(t *testing.T) {
	const most = 2097153
	for _, size := range []int{0, 1, 127, 128, 16383, 16384, 2097151, 2097152, most, most + 1} {
		for _, piece := range []int{1, 3, 4096, 1 << 22} {
			if piece < 4096 && size > 16384 {
				continue
			}
			var b bytes.Buffer
			b.WriteByte(packets.Publish << 4)
			for n := size; ; n >>= 7 {
				if n < 0x80 {
					b.WriteByte(byte(n))
					break
				}
				b.WriteByte(byte(n) | 0x80)
			}
			b.Write(make([]byte, size))
			r := packetReader{from: &pieces{&b, piece}, max: most, budget: budget.New(1 << 23)}
			_, body, err := r.next()
			if size > most {
				if !errors.Is(err, packets.ErrPacketTooLarge) {
					t.Errorf("%d bytes: got %v, want too large", size, err)
				}
				continue
			}
			if err != nil || len(body) != size {
				t.Errorf("%d bytes in pieces of %d: got %d bytes, %v", size, piece, len(body), err)
			}
		}
	}
}

// pieces is a reader of at most n bytes at a time.
type pieces struct {
	from io.Reader
	n    int
}

func (p *pieces) Read(b []byte) (int, error) { return p.from.Read(b[:min(len(b), p.n)]) }
