package mqttin_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestPublish_IsAcknowledgedInOrderAfterTheSync(t *testing.T) {
	for _, version := range []byte{4, 5} {
		log := ingestkit.NewLog(t)
		log.Hold = make(chan struct{})
		p := connect(t, serve(t, ingest.Options{Log: log}), version)
		p.publish(topic, "1", 1, 10)
		p.publish(topic, "2", 2, 9)
		p.publish(topic, "3", 0, 0)
		p.publish(topic, "4", 1, 8)
		p.ping()
		p.expect(packets.Pingresp, 0, 0) // it waits for no publish, and each acknowledgement would have come before
		close(log.Hold)
		p.expect(packets.Puback, 10, 0)
		p.expect(packets.Pubrec, 9, 0)
		p.expect(packets.Puback, 8, 0)
		if got := log.Stored(); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
			t.Errorf("version %d: got %q", version, got)
		}
	}
}

func TestPublish_BecomesAnEvent(t *testing.T) {
	log := ingestkit.NewLog(t)
	p := connect(t, serve(t, ingest.Options{Log: log}), 5)
	p.publish(topic, "x", 1, 1, func(pk *packets.Packet) {
		pk.FixedHeader.Retain = true
		pk.Properties = packets.Properties{
			User:        []packets.UserProperty{{Key: "unit", Val: "K"}, {Key: "tag", Val: "a"}, {Key: "tag", Val: "b"}, {Key: "mqtt.qos", Val: "7"}},
			ContentType: "text/plain", ResponseTopic: "r", CorrelationData: []byte{0xff}, MessageExpiryInterval: 9, PayloadFormat: 1, PayloadFormatFlag: true,
		}
	})
	p.expect(packets.Puback, 1, 0)
	p.publish("json/a", `{"a": 1}`, 1, 2)
	p.expect(packets.Puback, 2, 0)
	p.publish("field", `{"device":{"id":17}}`, 1, 3)
	p.expect(packets.Puback, 3, 0)
	events := log.Events()
	want := map[string]string{
		"unit": "K", "tag": "a,b", "user.mqtt.qos": "7", "mqtt.topic": topic, "mqtt.qos": "1", "mqtt.retain": "true", "mqtt.client_id": "dev",
		"mqtt.content_type": "text/plain", "mqtt.response_topic": "r", "mqtt.correlation_data": "/w==", "mqtt.message_expiry": "9",
	}
	if !maps.Equal(events[0].Attributes, want) {
		t.Errorf("got attributes %v, want %v", events[0].Attributes, want)
	}
	want = map[string]string{"mqtt.topic": "json/a", "mqtt.qos": "1", "mqtt.retain": "false", "mqtt.client_id": "dev"}
	if !maps.Equal(events[1].Attributes, want) {
		t.Errorf("got attributes %v, want %v", events[1].Attributes, want)
	}
	for i, key := range []string{"t1", "dev", "17"} {
		if events[i].Key != key || events[i].Time != ingestkit.Now.UnixNano() {
			t.Errorf("event %d: got key %q at %d, want %q", i, events[i].Key, events[i].Time, key)
		}
	}
}

// refusals are publishes that are rejected, with their code in version 5.
var refusals = []struct {
	name, topic, payload string
	code                 byte
}{
	{"no match", "other", "x", 0x90},
	{"a stream that is gone", "lost", "x", 0x90},
	{"the format", "json/a", "{", 0x99},
	{"the size", topic, strings.Repeat("x", 1001), 0x97},
	{"no key in the field", "field", "{}", 0x83},
	{"an empty key", "site/7/sensor//x", "x", 0x83},
	{"a long key", "bytes/" + strings.Repeat("x", 300), "x", 0x83},
}

func TestPublish_RejectedInVersion5(t *testing.T) {
	log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
	p := connect(t, serve(t, ingest.Options{Log: log, Observer: seen}), 5)
	for _, r := range refusals {
		for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
			p.publish(r.topic, r.payload, qos, 1)
			if pk := p.expect(kind, 1, r.code); pk.Properties.ReasonString == "" {
				t.Errorf("%s: no reason", r.name)
			}
		}
		p.publish(r.topic, r.payload, 0, 0)
	}
	p.publish(topic, "good", 2, 1)
	p.expect(packets.Pubrec, 1, 0)
	if got := log.Stored(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("got %.100q", got)
	}
	counted := 0
	_, refused := seen.Get()
	for _, n := range refused {
		counted += n
	}
	if counted != 3*len(refusals) {
		t.Errorf("got %d counted, want %d", counted, 3*len(refusals))
	}
}

// In version 3.1.1 every acknowledgement means that the publish is stored.
func TestPublish_RejectedInVersion3IsNotAcknowledged(t *testing.T) {
	for _, r := range refusals {
		log := ingestkit.NewLog(t)
		s := serve(t, ingest.Options{Log: log})
		for _, qos := range []byte{1, 2} {
			p := connect(t, s, 4)
			p.publish(topic, "first", 1, 1)
			p.publish(r.topic, r.payload, qos, 2)
			p.expect(packets.Puback, 1, 0)
			p.expectEnd(0)
		}
		p := connect(t, s, 4)
		p.publish(r.topic, r.payload, 0, 0)
		p.publish(topic, "last", 1, 3)
		p.expect(packets.Puback, 3, 0)
		if got := log.Stored(); !slices.Equal(got, []string{"first", "first", "last"}) {
			t.Errorf("%s: got %.100q", r.name, got)
		}
	}
}

func TestPublish_OnAFullLog(t *testing.T) {
	full := func(t *testing.T, version byte) (*ingestkit.Log, *peer) {
		log := ingestkit.NewLog(t)
		log.Hold = make(chan struct{})
		log.Refuse[1] = &wal.FullError{}
		p := connect(t, serve(t, ingest.Options{Log: log}), version)
		for i := range 3 {
			p.publish(topic, fmt.Sprint(i), 1, uint16(i+1))
		}
		ingestkit.AwaitSubmitted(t, log, 3)
		close(log.Hold)
		p.expect(packets.Puback, 1, 0)
		return log, p
	}
	log, p := full(t, 5)
	p.expect(packets.Puback, 2, 0x97)
	p.expect(packets.Puback, 3, 0)
	if got := log.Stored(); !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("version 5: got %q", got)
	}
	// The client sends 1 and 2 again, in this order: 2 must not be stored before 1.
	log, p = full(t, 4)
	p.expectEnd(0)
	if got := log.Stored(); !slices.Equal(got, []string{"0"}) {
		t.Errorf("version 3.1.1: got %q", got)
	}
}

func TestPublish_QoS2IsStoredOnce(t *testing.T) {
	log := ingestkit.NewLog(t)
	s := serve(t, ingest.Options{Log: log})
	session := packets.Properties{SessionExpiryInterval: 60, SessionExpiryIntervalFlag: true}
	again := func(pk *packets.Packet) { pk.FixedHeader.Dup = true }
	p := dial(t, s, 5)
	if p.open(packets.ConnectParams{ClientIdentifier: "dev"}, session).SessionPresent {
		t.Error("a new client has a session")
	}
	p.publish(topic, "a", 2, 7)
	p.expect(packets.Pubrec, 7, 0)
	p.publish(topic, "a", 2, 7, again)
	p.expect(packets.Pubrec, 7, 0)
	p.conn.Close()

	p = dial(t, s, 5)
	if !p.open(packets.ConnectParams{ClientIdentifier: "dev"}, session).SessionPresent {
		t.Error("the session is gone")
	}
	p.publish(topic, "a", 2, 7, again)
	p.expect(packets.Pubrec, 7, 0)
	p.pubrel(7)
	p.expect(packets.Pubcomp, 7, 0)
	p.pubrel(7)
	p.expect(packets.Pubcomp, 7, 0) // as after a restart of the agent
	p.publish(topic, "b", 2, 7)
	p.expect(packets.Pubrec, 7, 0)
	p.conn.Close()

	p = dial(t, s, 5)
	if p.open(packets.ConnectParams{ClientIdentifier: "dev", Clean: true}, session).SessionPresent {
		t.Error("a clean start has a session")
	}
	p.publish(topic, "c", 2, 7)
	p.expect(packets.Pubrec, 7, 0)
	if got := log.Stored(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %q", got)
	}
}

func TestPublish_TopicAlias(t *testing.T) {
	log := ingestkit.NewLog(t)
	p := connect(t, serve(t, ingest.Options{Log: log}), 5)
	alias := func(n uint16) func(*packets.Packet) {
		return func(pk *packets.Packet) { pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = n, true }
	}
	p.publish(topic, "a", 1, 1, alias(1))
	p.publish("", "b", 1, 2, alias(1))
	p.publish("site/7/sensor/t2", "c", 1, 3, alias(1))
	p.publish("", "d", 1, 4, alias(1))
	for id := range uint16(4) {
		p.expect(packets.Puback, id+1, 0)
	}
	var keys []string
	for _, e := range log.Events() {
		keys = append(keys, e.Key)
	}
	if !slices.Equal(keys, []string{"t1", "t1", "t2", "t2"}) {
		t.Errorf("got keys %q", keys)
	}
	p.publish("", "e", 1, 5, alias(2))
	p.expectEnd(0x82)
	p = connect(t, serve(t, ingest.Options{Log: log}), 5)
	p.publish(topic, "f", 1, 5, alias(33))
	p.expectEnd(0x94)
	p = connect(t, serve(t, ingest.Options{Log: log}), 5)
	p.publish(strings.Repeat("x", 17<<10), "g", 1, 5, alias(1))
	p.expectEnd(0x97)
}

func TestNew_RejectsFaultyTopics(t *testing.T) {
	_, err := ingest.New(ingest.Options{
		Type: ingest.MQTT, Network: "tcp", Address: "127.0.0.1:0", Log: ingestkit.NewLog(t), Streams: ingestkit.TestStreams,
		MQTT: ingest.MQTTOptions{Topics: []topicmap.Route{{Filter: "a#", Key: "k"}}},
	})
	if err == nil {
		t.Error("a faulty filter is accepted")
	}
}

// A rejected publish of QoS 2 behind the one that ends the client is not held as stored: the client sends both again.
func TestPublish_QoS2RejectedBehindAnotherIsStoredLater(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	log.Refuse[0] = &wal.FullError{}
	s := serve(t, ingest.Options{Log: log})
	p := dial(t, s, 4)
	p.open(packets.ConnectParams{ClientIdentifier: "dev"}, packets.Properties{})
	p.publish(topic, "a", 2, 1)
	p.publish(topic, "b", 2, 2)
	ingestkit.AwaitSubmitted(t, log, 2)
	close(log.Hold)
	p.expectEnd(0)

	p = dial(t, s, 4)
	p.open(packets.ConnectParams{ClientIdentifier: "dev"}, packets.Properties{})
	for id, payload := range []string{"a", "b"} {
		p.publish(topic, payload, 2, uint16(id+1), func(pk *packets.Packet) { pk.FixedHeader.Dup = true })
		p.expect(packets.Pubrec, uint16(id+1), 0)
	}
	if got := log.Stored(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q, want both, in order", got)
	}
}

// An identity may send a byte a second, so its first publish leaves it in debt for many minutes. A rejected publish is not held: when it
// comes again without a limit, it is stored.
func TestPublish_OverTheRateOfItsIdentity(t *testing.T) {
	for version := byte(4); version <= 5; version++ {
		meter := access.Identity{Name: "meter", TokenFile: accesstest.WriteToken(t, "secret"), MaxBytes: 1}
		r := access.NewRegister(nil)
		testkit.Must(t, r.Set([]access.Identity{meter}))
		log := ingestkit.NewLog(t)
		s := serve(t, ingest.Options{Log: log, Guard: accesstest.NewGuard(t, r, "")})
		open := func() *peer {
			p := dial(t, s, version)
			p.open(packets.ConnectParams{ClientIdentifier: "dev", UsernameFlag: true, Username: []byte("meter"), PasswordFlag: true, Password: []byte("secret")},
				packets.Properties{SessionExpiryInterval: 60, SessionExpiryIntervalFlag: true})
			return p
		}
		p := open()
		large := strings.Repeat("x", 900)
		p.publish(topic, large, 2, 1)
		p.expect(packets.Pubrec, 1, 0)
		p.publish(topic, "second", 0, 0)
		p.publish(topic, "third", 2, 2)
		if version == 4 {
			p.expectEnd(0)
		} else {
			p.expect(packets.Pubrec, 2, 0x97)
			p.publish(topic, "fourth", 1, 3)
			p.expect(packets.Puback, 3, 0x97)
		}
		if known, _ := r.Figures(); known[0].Events != 1 || known[0].Refused["rate"] < 2 {
			t.Errorf("version %d: got %+v", version, known[0])
		}

		meter.MaxBytes = 0
		testkit.Must(t, r.Set([]access.Identity{meter}))
		p = open()
		p.publish(topic, "third", 2, 2, dup)
		p.expect(packets.Pubrec, 2, 0)
		p.publish(topic, "fourth", 1, 3, dup)
		p.expect(packets.Puback, 3, 0)
		if got := log.Stored(); !slices.Equal(got, []string{large, "third", "fourth"}) {
			t.Errorf("version %d: got %.40q", version, got)
		}
	}
}
