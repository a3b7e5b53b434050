package mqttin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestClient_CannotSubscribe(t *testing.T) {
	for version, code := range map[byte]byte{4: 0x80, 5: 0x87} {
		p := connect(t, serve(t, ingest.Options{Log: ingestkit.NewLog(t)}), version)
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: version, PacketID: 3,
			Filters: packets.Subscriptions{{Filter: "a"}, {Filter: "#", Qos: 1}}}
		p.write(pk.SubscribeEncode)
		if got := p.expect(packets.Suback, 3, 0).ReasonCodes; !slices.Equal(got, []byte{code, code}) {
			t.Errorf("version %d: got %x, want two of %x", version, got, code)
		}
		pk = packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, ProtocolVersion: version, PacketID: 4,
			Filters: packets.Subscriptions{{Filter: "a"}}}
		p.write(pk.UnsubscribeEncode)
		p.expect(packets.Unsuback, 4, 0)
		p.ping()
		p.expect(packets.Pingresp, 0, 0)
	}
}

func TestClient_TakesThePlaceOfItsOlderConnection(t *testing.T) {
	log := ingestkit.NewLog(t)
	s := serve(t, ingest.Options{Log: log})
	older := connect(t, s, 5)
	older.publish(topic, "a", 1, 1)
	older.expect(packets.Puback, 1, 0)
	newer := connect(t, s, 5)
	older.expectEnd(0x8e)
	newer.publish(topic, "b", 1, 1)
	newer.expect(packets.Puback, 1, 0)
	if got := log.Stored(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

func TestClient_WillIsAnEvent(t *testing.T) {
	log := ingestkit.NewLog(t)
	s := serve(t, ingest.Options{Log: log})
	will := packets.ConnectParams{ClientIdentifier: "dev", Clean: true, WillFlag: true, WillTopic: topic, WillPayload: []byte("gone"), WillQos: 1, WillRetain: true}
	for version := byte(4); version <= 5; version++ {
		p := dial(t, s, version)
		p.open(will, packets.Properties{})
		p.raw([]byte{packets.Disconnect << 4, 0})
		p.expectEnd(0)
	}
	p := dial(t, s, 5)
	p.open(will, packets.Properties{})
	p.raw([]byte{packets.Disconnect << 4, 1, 4}) // disconnect with will
	p.expectEnd(0)
	p = dial(t, s, 4)
	p.open(will, packets.Properties{})
	p.conn.Close()
	p = dial(t, s, 4)
	p.open(will, packets.Properties{}) // after the one before has ended
	p.publish(topic, "here", 1, 1)
	p.expect(packets.Puback, 1, 0)
	p.conn.Close()
	testkit.Eventually(t, time.Minute, func() error {
		if got := len(log.Events()); got < 4 {
			return fmt.Errorf("%d events are stored, want 4", got)
		}
		return nil
	})
	wills := slices.DeleteFunc(log.Events(), func(e wal.Event) bool { return string(e.Data) == "here" })
	for _, e := range wills {
		if string(e.Data) != "gone" || e.Key != "t1" || e.Attributes["mqtt.will"] != "true" || e.Attributes["mqtt.retain"] != "true" || e.Attributes["mqtt.qos"] != "1" {
			t.Errorf("got %q with key %s and %v", e.Data, e.Key, e.Attributes)
		}
	}
	if got := len(wills); got != 3 {
		t.Errorf("got %d wills, want those of the three that ended without DISCONNECT or with its code 4", got)
	}
}

func TestClient_IsTheIdentityOfItsToken(t *testing.T) {
	r := access.NewRegister(nil)
	err := r.Set([]access.Identity{
		{Name: "meter", TokenFile: accesstest.WriteToken(t, "secret"), Streams: []string{"text"}},
		{Name: "other", TokenFile: accesstest.WriteToken(t, "hidden")},
	})
	if err != nil {
		t.Fatal(err)
	}
	log := ingestkit.NewLog(t)
	s := serve(t, ingest.Options{Log: log, Guard: accesstest.NewGuard(t, r, accesstest.WriteToken(t, "master"))})
	for _, c := range []struct {
		user, password string
		ok             bool
	}{
		{"meter", "secret", true}, {"", "secret", true}, {"other", "secret", false}, {"meter", "wrong", false}, {"meter", "", false}, {"", "", false},
		{"anybody", "master", true}, {"other", "hidden", true},
	} {
		for version, code := range map[byte]byte{4: 5, 5: 0x86} {
			if c.user == "" && c.password != "" && version == 4 {
				continue // a password needs a user name
			}
			p := dial(t, s, version)
			p.hello(packets.ConnectParams{ClientIdentifier: "dev", Clean: true, UsernameFlag: c.user != "", Username: []byte(c.user),
				PasswordFlag: c.password != "", Password: []byte(c.password)}, packets.Properties{})
			if c.ok {
				p.expect(packets.Connack, 0, 0)
				continue
			}
			if got := p.expect(packets.Connack, 0, code).Properties.ReasonString; strings.Contains(got, "secret") {
				t.Errorf("got %q", got)
			}
			p.expectEnd(0)
		}
	}
	p := dial(t, s, 5)
	p.open(packets.ConnectParams{ClientIdentifier: "d", Clean: true, UsernameFlag: true, Username: []byte("meter"), PasswordFlag: true, Password: []byte("secret")}, packets.Properties{})
	p.publish(topic, "a", 1, 1)
	p.expect(packets.Puback, 1, 0)
	p.publish("json/a", "1", 1, 2)
	p.expect(packets.Puback, 2, 0x87)
	known, _ := r.Figures()
	if f := known[1]; f.Identity != "meter" || f.Events != 1 || f.Refused["forbidden"] != 1 {
		t.Errorf("got %+v", f)
	}
}

func TestClient_RejectedConnect(t *testing.T) {
	s := serve(t, ingest.Options{Log: ingestkit.NewLog(t)})
	for name, c := range map[string]struct {
		version, code byte
		params        packets.ConnectParams
		properties    packets.Properties
	}{
		"version 3.1":             {3, 1, packets.ConnectParams{Clean: true}, packets.Properties{}},
		"no identifier":           {4, 2, packets.ConnectParams{}, packets.Properties{}},
		"a long identifier":       {5, 0x85, packets.ConnectParams{ClientIdentifier: strings.Repeat("x", 257)}, packets.Properties{}},
		"a will for wildcards":    {5, 0x90, packets.ConnectParams{ClientIdentifier: "d", WillFlag: true, WillTopic: "#"}, packets.Properties{}},
		"enhanced authentication": {5, 0x8c, packets.ConnectParams{ClientIdentifier: "d"}, packets.Properties{AuthenticationMethod: "SCRAM"}},
	} {
		p := dial(t, s, c.version)
		p.hello(c.params, c.properties)
		if pk := p.receive(); pk.FixedHeader.Type != packets.Connack || pk.ReasonCode != c.code {
			t.Errorf("%s: got %s with %#x, want CONNACK with %#x", name, packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, c.code)
		}
		p.expectEnd(0)
	}
	p := dial(t, s, 5)
	ack := p.open(packets.ConnectParams{Clean: true}, packets.Properties{})
	if id := ack.Properties.AssignedClientID; id == "" {
		t.Error("no identifier is assigned")
	}
}

func TestClient_MalformedPackets(t *testing.T) {
	log := ingestkit.NewLog(t)
	s := serve(t, ingest.Options{Log: log, MaxRequestSize: 2000})
	for name, c := range map[string]struct {
		code byte
		raw  string
	}{
		"QoS 3":                        {0x82, "\x36\x05\x00\x01a\x00\x01"},
		"DUP of QoS 0":                 {0x82, "\x38\x05\x00\x01a\x00x"},
		"a length of five bytes":       {0x81, "\x30\x80\x80\x80\x80\x01"},
		"a packet over the limit":      {0x95, "\x30\xd1\x0f"},
		"no packet identifier":         {0x82, "\x32\x06\x00\x01a\x00\x00\x00"},
		"a topic longer than the body": {0x81, "\x30\x03\x00\x09a"},
		"a topic with a wildcard":      {0x90, "\x30\x05\x00\x02a+\x00"},
		"an empty topic":               {0x90, "\x30\x03\x00\x00\x00"},
		"a topic that is not UTF-8":    {0x90, "\x30\x04\x00\x01\xff\x00"},
		"properties beyond the body":   {0x81, "\x30\x05\x00\x01a\x7fx"},
		"a property beyond the others": {0x81, "\x30\x0a\x00\x01a\x03\x03\x00\x09xyz"},
		"a property of CONNACK":        {0x81, "\x30\x07\x00\x01a\x03\x21\x00\x01"},
		"a second CONNECT":             {0x82, "\x10\x00"},
		"PUBACK":                       {0x82, "\x40\x02\x00\x01"},
		"AUTH":                         {0x82, "\xf0\x00"},
		"PUBREL of packet 0":           {0x81, "\x62\x02\x00\x00"},
		"SUBSCRIBE for nothing":        {0x82, "\x82\x03\x00\x01\x00"},
		"a reserved packet":            {0x82, "\x00\x00"},
	} {
		p := connect(t, s, 5)
		p.raw([]byte(c.raw))
		pk := p.receive()
		if pk.FixedHeader.Type != packets.Disconnect || pk.ReasonCode != c.code {
			t.Errorf("%s: got %s with %#x, want DISCONNECT with %#x", name, packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, c.code)
		}
		p.expectEnd(0)
	}
	for _, raw := range []string{"\x40\x02\x00\x01", "\x30\x00", "\x10\x06\x00\x04HTTP\x04", "\x10\x02\x00\x04"} {
		p := dial(t, s, 4)
		p.raw([]byte(raw))
		p.expectEnd(0)
	}
	if got := log.Stored(); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// The agent stops: all submitted publishes are acknowledged, and the client gets the reason.
func TestClient_IsAcknowledgedBeforeTheAgentStops(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	s := serve(t, ingest.Options{Log: log})
	p := connect(t, s, 5)
	p.publish(topic, "a", 1, 1)
	ingestkit.AwaitSubmitted(t, log, 1)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	close(log.Hold)
	p.expect(packets.Puback, 1, 0)
	p.expectEnd(0x8b)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A client whose publish awaits a delivery can connect again, and sends the publish again.
func TestClient_TakesThePlaceOfOneThatAwaitsADelivery(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Stuck = true
	streams := ingestkit.Streams{"text": {Format: ingest.FormatText, MaxEventSize: 1000, Ack: standpipev1.Ack_ACK_DELIVERED}}
	s := serve(t, ingest.Options{Log: log, Streams: streams})
	for _, qos := range []byte{1, 2} {
		p := dial(t, s, 5)
		p.open(packets.ConnectParams{ClientIdentifier: "dev", WillFlag: true, WillTopic: topic, WillQos: 1}, packets.Properties{})
		p.publish(topic, "a", qos, 1)
		ingestkit.AwaitSubmitted(t, log, 2*int(qos)-1) // and the will of the first one
	}
	p := connect(t, s, 5)
	p.ping()
	p.expect(packets.Pingresp, 0, 0)
}
