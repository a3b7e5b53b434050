package mqttin_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

// device connects a client to a listener that knows nothing of earlier ones: only the log is the same. A clean device begins a
// new session. lasts: the session does not end with the connection.
func device(t *testing.T, log ingest.Log, version byte, clean, lasts bool) (p *peer, present bool) {
	t.Helper()
	p = dial(t, serve(t, ingest.Options{Log: log}), version)
	properties := packets.Properties{}
	if version == 5 && lasts {
		properties = packets.Properties{SessionExpiryInterval: 60, SessionExpiryIntervalFlag: true}
	}
	if version == 4 {
		clean = !lasts
	}
	ack := p.open(packets.ConnectParams{ClientIdentifier: "dev", Clean: clean}, properties)
	return p, ack.SessionPresent
}

func dup(pk *packets.Packet) { pk.FixedHeader.Dup = true }

// again sends the publish "a" with identifier 7 again, and returns what the log has then.
func (p *peer) again(log *ingestkit.Log, payload string, change ...func(*packets.Packet)) []string {
	p.t.Helper()
	p.publish(topic, payload, 2, 7, change...)
	p.expect(packets.Pubrec, 7, 0)
	return log.Stored()
}

// The agent is killed after it has stored a publish of QoS 2, and the client sends the publish again.
func TestQoS2_IsStoredOnceThroughARestart(t *testing.T) {
	for version := byte(4); version <= 5; version++ {
		log := ingestkit.NewLog(t)
		p, present := device(t, log, version, false, true)
		if present {
			t.Error("a new client has a session")
		}
		p.again(log, "a")
		for range 2 {
			if p, present = device(t, log, version, false, true); !present {
				t.Error("the session is gone")
			}
			if got := p.again(log, "a", dup); !slices.Equal(got, []string{"a"}) {
				t.Errorf("version %d: got %q", version, got)
			}
		}
		p.pubrel(7)
		p.expect(packets.Pubcomp, 7, 0)

		// The identifier is free: another publish with the same content is stored, also if its first attempt is lost.
		p, _ = device(t, log, version, false, true)
		if got := p.again(log, "a", dup); !slices.Equal(got, []string{"a", "a"}) {
			t.Errorf("version %d: got %q after the release", version, got)
		}
	}
}

// The client sends PUBREL only to the agent that follows.
func TestQoS2_IsReleasedAfterARestart(t *testing.T) {
	log := ingestkit.NewLog(t)
	p, _ := device(t, log, 5, false, true)
	p.again(log, "a")
	p, _ = device(t, log, 5, false, true)
	p.pubrel(7)
	p.expect(packets.Pubcomp, 7, 0)
	p, _ = device(t, log, 5, false, true)
	if got := p.again(log, "a", dup); !slices.Equal(got, []string{"a", "a"}) {
		t.Errorf("got %q", got)
	}
}

// PUBCOMP lets the client use the identifier again, so it comes after the receipt is gone from the disk.
func TestQoS2_ReleaseIsStoredBeforePubcomp(t *testing.T) {
	log := ingestkit.NewLog(t)
	p, _ := device(t, log, 5, false, true)
	p.again(log, "a")
	log.HoldDiscards(true)
	p.pubrel(7)
	p.ping() // its response comes from the goroutine that reads
	p.expect(packets.Pingresp, 0, 0)
	if len(log.Receipts("\x00dev")) != 1 {
		t.Error("the receipt is gone")
	}
	p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if pk, err := p.next(); err == nil {
		t.Errorf("got %s", packets.PacketNames[pk.FixedHeader.Type])
	}
	p.conn.SetReadDeadline(time.Time{})
	log.HoldDiscards(false)
	p.expect(packets.Pubcomp, 7, 0)
	if got := log.Receipts("\x00dev"); len(got) > 0 {
		t.Errorf("got receipts %v", got)
	}
}

// A client that has lost its state uses an identifier that it has not released.
func TestQoS2_AnotherPublishWithAHeldIdentifierIsStored(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		change  []func(*packets.Packet)
		restart bool
	}{
		"without DUP":                     {"a", nil, false},
		"without DUP after a restart":     {"a", nil, true},
		"another payload":                 {"b", []func(*packets.Packet){dup}, false},
		"another payload after a restart": {"b", []func(*packets.Packet){dup}, true},
	} {
		log := ingestkit.NewLog(t)
		p, _ := device(t, log, 5, false, true)
		p.again(log, "a")
		if c.restart {
			p, _ = device(t, log, 5, false, true)
		}
		if got := p.again(log, c.payload, c.change...); !slices.Equal(got, []string{"a", c.payload}) {
			t.Errorf("%s: got %q", name, got)
		}
		if got := p.again(log, c.payload, dup); !slices.Equal(got, []string{"a", c.payload}) {
			t.Errorf("%s, sent again: got %q", name, got)
		}
	}
}

// A client uses an identifier for a second publish before the first one is rejected. The second one has its own outcome.
func TestQoS2_ARejectionIsOfItsOwnPublish(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	log.Refuse[0] = &wal.FullError{}
	p, _ := device(t, log, 5, false, true)
	p.publish(topic, "a", 2, 7)
	p.publish(topic, "b", 2, 7)
	ingestkit.AwaitSubmitted(t, log, 2)
	close(log.Hold)
	p.expect(packets.Pubrec, 7, 0x97)
	p.expect(packets.Pubrec, 7, 0)
	if got := p.again(log, "b", dup); !slices.Equal(got, []string{"b"}) {
		t.Errorf("got %q", got)
	}
}

// A session that ends takes its receipts with it: the publishes of the next one are others.
func TestQoS2_ReceiptsEndWithTheSession(t *testing.T) {
	for name, end := range map[string]func(p *peer){
		"clean start": func(p *peer) {
			if clean, present := device(t, p.log, 5, true, true); present || clean == nil {
				t.Error("a clean start has a session")
			}
		},
		"clean start of version 3.1.1": func(p *peer) { device(t, p.log, 4, true, false) },
		"expiry 0 at DISCONNECT": func(p *peer) {
			p.raw([]byte{packets.Disconnect << 4, 7, 0, 5, 0x11, 0, 0, 0, 0})
			p.expectEnd(0)
		},
	} {
		log := ingestkit.NewLog(t)
		p, _ := device(t, log, 5, false, true)
		p.log = log
		p.again(log, "a")
		end(p)
		p, present := device(t, log, 5, false, true)
		if present {
			t.Errorf("%s: the session is there", name)
		}
		if got := p.again(log, "a", dup); !slices.Equal(got, []string{"a", "a"}) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// A client that sees the end of its connection does not find its session in an agent that starts then.
func TestQoS2_ReceiptsAreGoneBeforeTheConnectionEnds(t *testing.T) {
	log := ingestkit.NewLog(t)
	p, _ := device(t, log, 5, false, true)
	p.again(log, "a")
	log.HoldDiscards(true)
	p.raw([]byte{packets.Disconnect << 4, 7, 0, 5, 0x11, 0, 0, 0, 0}) // with expiry 0
	p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := p.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v before the receipt is gone", err)
	}
	p.conn.SetReadDeadline(time.Time{})
	log.HoldDiscards(false)
	p.expectEnd(0)
	if got := log.Receipts("\x00dev"); len(got) > 0 {
		t.Errorf("got receipts %v", got)
	}
}

// A session that ends with its connection needs no receipts, and its PUBCOMP no commit.
func TestQoS2_SessionsThatEndHaveNoReceipts(t *testing.T) {
	for version := byte(4); version <= 5; version++ {
		log := ingestkit.NewLog(t)
		p, _ := device(t, log, version, true, false)
		p.again(log, "a")
		if got := log.Receipts("\x00dev"); len(got) > 0 {
			t.Errorf("version %d: got receipts %v", version, got)
		}
		log.HoldDiscards(true)
		p.pubrel(7)
		p.expect(packets.Pubcomp, 7, 0)
		log.HoldDiscards(false)
	}
}

// PUBREL has to be read before the publish is stored, which nobody outside sees: if it was not, there is another try that waits longer.
func TestQoS2_PubrelBeforePubrec(t *testing.T) {
	for wait := time.Duration(0); ; wait = 2*wait + time.Millisecond {
		log := ingestkit.NewLog(t)
		log.Hold = make(chan struct{})
		p, _ := device(t, log, 5, false, true)
		p.publish(topic, "a", 2, 7)
		p.pubrel(7)
		ingestkit.AwaitSubmitted(t, log, 1)
		time.Sleep(wait)
		close(log.Hold)
		p.expect(packets.Pubrec, 7, 0)
		if pk := p.receive(); pk.FixedHeader.Type == packets.Pubcomp && wait < 10*time.Second {
			continue
		} else if pk.FixedHeader.Type != packets.Disconnect || pk.ReasonCode != 0x82 {
			t.Errorf("got %s with %#x, want DISCONNECT with 0x82", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
		}
		return
	}
}
