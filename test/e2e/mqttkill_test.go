//go:build unix

package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/mqttkit"
)

// device is a client of MQTT with a session that outlives its connections and the agent.
type device struct {
	name    string
	version byte
	same    bool // every payload is the same, so a publish differs from others by its user property alone
	reuses  bool // it takes the lowest free packet identifier, not the next one
	window  int
	draw    *rand.Rand

	sent    int      // publishes so far
	lastID  uint16   // the last packet identifier
	flight  []*inAir // without PUBACK or PUBCOMP, in order
	resends int      // publishes of QoS 2
}

// inAir is a publish in flight.
type inAir struct {
	number   int
	id       uint16
	qos      byte
	received bool // PUBREC has arrived
}

func newDevice(name string, draw *rand.Rand) *device {
	d := &device{name: name, version: byte(4 + draw.IntN(2)), reuses: draw.IntN(2) == 0, window: 1 + draw.IntN(12), draw: draw}
	d.same = d.version == 5 && draw.IntN(2) == 0
	return d
}

// run connects, sends everything in flight again, and publishes until the connection ends. most bounds the publishes; with 0 it
// returns once none is in flight.
func (d *device) run(address string, most int) error {
	c, err := d.dial(address)
	if err != nil {
		return err
	}
	defer c.to.Close()
	for {
		for most > 0 && len(d.flight) < d.window {
			most--
			p := &inAir{number: d.sent, id: d.freeID(), qos: byte(1 + d.draw.IntN(2))}
			d.sent++
			d.flight = append(d.flight, p)
			c.publish(p, false)
		}
		if err := c.flush(); err != nil || len(d.flight) == 0 {
			return err
		}
		if err := c.receive(); err != nil {
			return err
		}
		if most > 0 && d.draw.IntN(300) == 0 {
			return nil // the connection is lost
		}
	}
}

// dial connects, and sends everything in flight again.
func (d *device) dial(address string) (*deviceConn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &deviceConn{device: d, to: conn, from: bufio.NewReader(conn)}
	if err := c.open(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (d *device) freeID() uint16 {
	id := d.lastID + 1
	if d.reuses {
		id = 1
	}
	for id == 0 || slices.ContainsFunc(d.flight, func(p *inAir) bool { return p.id == id }) {
		id++
	}
	d.lastID = id
	return id
}

// deviceConn is a connection of a device.
type deviceConn struct {
	*device
	to   net.Conn
	from *bufio.Reader
	out  bytes.Buffer
}

func (c *deviceConn) open() error {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: c.version,
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: c.name, Keepalive: 60}}
	if c.version == 5 {
		pk.Properties = packets.Properties{SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: true}
	}
	pk.ConnectEncode(&c.out)
	if err := c.flush(); err != nil {
		return err
	}
	ack, err := mqttkit.Read(c.from, c.version)
	if err != nil {
		return err
	}
	if ack.FixedHeader.Type != packets.Connack || ack.ReasonCode != 0 {
		return fmt.Errorf("%s: got %s with %#x: %w", c.name, packets.PacketNames[ack.FixedHeader.Type], ack.ReasonCode, errDevice)
	}
	for _, p := range c.flight {
		if p.received {
			c.release(p)
			continue
		}
		c.publish(p, true)
		if p.qos == 2 {
			c.resends++
		}
	}
	return nil
}

var errDevice = fmt.Errorf("unexpected packet")

func (c *deviceConn) publish(p *inAir, again bool) {
	c.publishText(p, fmt.Sprintf("%s-%d-%d", c.name, p.qos, p.number), again)
}

func (c *deviceConn) publishText(p *inAir, payload string, again bool) {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.qos, Dup: again}, ProtocolVersion: c.version, PacketID: p.id,
		TopicName: "site/1/sensor/" + c.name, Payload: []byte(payload)}
	if c.same {
		pk.Payload, pk.Properties.User = []byte("on"), []packets.UserProperty{{Key: "payload", Val: payload}}
	}
	pk.PublishEncode(&c.out)
}

func (c *deviceConn) release(p *inAir) {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, ProtocolVersion: c.version, PacketID: p.id}
	pk.PubrelEncode(&c.out)
}

func (c *deviceConn) flush() error {
	_, err := c.to.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

// receive handles a packet: PUBACK, PUBREC or PUBCOMP of a publish in flight.
func (c *deviceConn) receive() error {
	pk, err := mqttkit.Read(c.from, c.version)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.flight, func(p *inAir) bool { return p.id == pk.PacketID })
	wrong := fmt.Errorf("%s: got %s of packet %d with %#x: %w", c.name, packets.PacketNames[pk.FixedHeader.Type], pk.PacketID, pk.ReasonCode, errDevice)
	if i < 0 || pk.ReasonCode != 0 {
		return wrong
	}
	p := c.flight[i]
	switch kind := pk.FixedHeader.Type; {
	case kind == packets.Puback && p.qos == 1, kind == packets.Pubcomp && p.received:
		c.flight = slices.Delete(c.flight, i, i+1)
	case kind == packets.Pubrec && p.qos == 2 && !p.received:
		p.received = true
		c.release(p)
	default:
		return wrong
	}
	return nil
}

// The agent is killed at random moments while devices publish with QoS 1 and 2, STANDPIPE_E2E_MQTT_ROUNDS times, and has another ack
// level at some starts. Each acknowledged publish is in the log, in the order of its device, and those of QoS 2 are there once.
func TestMQTT_Kills(t *testing.T) {
	endToEnd(t)
	rounds, clients := number(t, "STANDPIPE_E2E_MQTT_ROUNDS", 10), number(t, "STANDPIPE_E2E_MQTT_CLIENTS", 20)
	seed := draw.Seed(t)
	t.Logf("%d rounds, %d clients", rounds, clients)
	draw := rand.New(rand.NewPCG(seed, 51))
	a := newMQTTAgent(t, "max_connections = 4096", "wal {\n  max_size = \"2GiB\"\n  segment_size = \"1MiB\"\n}\n")
	devices := make([]*device, clients)
	for i := range devices {
		devices[i] = newDevice(fmt.Sprint("device", i), rand.New(rand.NewPCG(seed, uint64(i))))
	}
	for range rounds {
		var all sync.WaitGroup
		for _, d := range devices {
			all.Go(func() {
				if err := d.run(a.mqtt, 1<<30); err != nil && strings.Contains(err.Error(), errDevice.Error()) {
					t.Error(err)
				}
			})
		}
		<-time.After(time.Duration(20+draw.IntN(300)) * time.Millisecond)
		a.kill()
		all.Wait()
		a.acks([]string{"durable", "delivered"}[draw.IntN(2)])
		a.start()
	}
	var all sync.WaitGroup
	for _, d := range devices {
		all.Go(func() {
			if err := d.run(a.mqtt, 0); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
		})
	}
	all.Wait()
	a.stop()
	checkDevices(t, a, devices)
}

// checkDevices checks the delivered events of devices that have nothing in flight. The file may have an event twice, under one ID.
func checkDevices(t *testing.T, a *mqttAgent, devices []*device) {
	t.Helper()
	type record struct {
		ID string
		mqttEvent
	}
	known := make(map[string]bool)
	numbers := make(map[string][]int) // by device, in the order of their offsets
	twice := make(map[string]bool)
	total, resends, repeats := 0, 0, 0
	for line := range strings.Lines(contents(t, a.path("out/readings"))) {
		var e record
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID == "" {
			t.Fatalf("%v in %q", err, line)
		}
		if known[e.ID] {
			continue
		}
		known[e.ID] = true
		total++
		payload := e.Data
		if payload == "on" {
			payload = e.Attributes["payload"]
		}
		parts := strings.Split(payload, "-")
		n, err := strconv.Atoi(parts[len(parts)-1])
		if err != nil || parts[0] != e.Key {
			t.Fatalf("got %q with key %q", payload, e.Key)
		}
		if twice[payload] {
			repeats++
			if parts[1] == "2" {
				t.Errorf("%s is stored twice", payload)
			}
			continue
		}
		twice[payload] = true
		numbers[e.Key] = append(numbers[e.Key], n)
	}
	for _, d := range devices {
		resends += d.resends
		for i, n := range numbers[d.name] {
			if n != i {
				t.Errorf("%s: got publish %d in place %d of %d", d.name, n, i, d.sent)
				break
			}
		}
		if got := len(numbers[d.name]); got != d.sent {
			t.Errorf("%s: got %d publishes, want %d", d.name, got, d.sent)
		}
	}
	t.Logf("%d events, %d of QoS 2 sent again, %d of QoS 1 stored again", total, resends, repeats)
}
