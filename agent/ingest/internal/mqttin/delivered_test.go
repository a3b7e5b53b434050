package mqttin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// delivering is a listener whose acknowledgements await deliveries, on a log with one destination.
type delivering struct {
	t      *testing.T
	dir    string
	log    *wal.Log
	cursor *wal.Cursor
	server *ingest.Server
}

// start opens the log again, and starts a listener that knows nothing of earlier ones.
func (d *delivering) start() {
	d.t.Helper()
	if d.log != nil {
		d.stop()
	}
	var err error
	d.log, err = wal.Open(d.t.Context(), wal.Options{Dir: d.dir})
	testkit.Must(d.t, err)
	d.cursor, err = d.log.OpenCursor("text", "destination")
	testkit.Must(d.t, err)
	d.server = serve(d.t, ingest.Options{
		Log: ingest.FromWAL(d.log), Streams: ingestkit.Streams{"text": {MaxEventSize: 1000, Ack: standpipev1.Ack_ACK_DELIVERED}},
	})
}

// stop stops the listener without waiting for deliveries, and closes the log.
func (d *delivering) stop() {
	d.t.Helper()
	over, cancel := context.WithCancel(d.t.Context())
	cancel()
	d.server.Stop(over)
	d.cursor.Close()
	testkit.Must(d.t, d.log.Close())
}

// connect connects a client with a session that outlives the agent.
func (d *delivering) connect(version byte, id string) *peer {
	d.t.Helper()
	p := dial(d.t, d.server, version)
	properties := packets.Properties{}
	if version == 5 {
		properties = packets.Properties{SessionExpiryInterval: 60, SessionExpiryIntervalFlag: true}
	}
	p.open(packets.ConnectParams{ClientIdentifier: id}, properties)
	return p
}

// awaitEnd waits until the stream has n events.
func (d *delivering) awaitEnd(n uint64) {
	d.t.Helper()
	testkit.Eventually(d.t, time.Minute, func() error {
		if next := d.log.Next("text"); next < n+1 {
			return fmt.Errorf("the stream has %d events, want %d", next-1, n)
		}
		return nil
	})
}

// expectNothing expects no packet for a while.
func (p *peer) expectNothing() {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if pk, err := p.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("got %s, %v, want nothing", packets.PacketNames[pk.FixedHeader.Type], err)
	}
	p.conn.SetReadDeadline(time.Now().Add(time.Minute))
}

// A client whose publish of QoS 2 awaits its delivery connects again, or the agent starts again. The publish that it sends again is
// not stored again, and gets PUBREC once the stored event is delivered. Later events are not awaited.
func TestQoS2_IsStoredOnceWhileItAwaitsItsDelivery(t *testing.T) {
	for name, again := range map[string]func(d *delivering, p *peer){
		"another connection": func(_ *delivering, p *peer) { p.conn.Close() },
		"a takeover":         func(*delivering, *peer) {},
		"a restart":          func(d *delivering, p *peer) { p.conn.Close(); d.start() },
		"two restarts":       func(d *delivering, p *peer) { p.conn.Close(); d.start(); d.start() },
	} {
		for version := byte(4); version <= 5; version++ {
			d := &delivering{t: t, dir: t.TempDir()}
			d.start()
			p := d.connect(version, "dev")
			p.publish(topic, "a", 2, 7)
			d.awaitEnd(1)
			again(d, p)
			other := d.connect(version, "other")
			other.publish(topic, "b", 1, 1)
			d.awaitEnd(2)

			p = d.connect(version, "dev")
			p.publish(topic, "a", 2, 7, dup)
			p.expectNothing()
			if next := d.log.Next("text"); next != 3 {
				t.Fatalf("version %d, %s: %d events are stored, want 2", version, name, next-1)
			}
			d.settle("t1", 2)
			p.expect(packets.Pubrec, 7, 0)
			other.expectNothing()
			p.pubrel(7)
			p.expect(packets.Pubcomp, 7, 0)
			if got := d.log.Receipts().Of("\x00dev"); len(got) > 0 {
				t.Errorf("version %d, %s: got receipts %v", version, name, got)
			}
			d.settle("t1", 3)
			other.expect(packets.Puback, 1, 0)
			d.stop()
		}
	}
}

// settle settles the events of a key before an offset.
func (d *delivering) settle(key string, before uint64) {
	d.cursor.Settle(wal.Settlement{
		Lanes: map[uint8]wal.Progress{wal.LaneOf(key): {Checkpoint: before}}, Add: wal.Ledger{Delivered: wal.Count{Events: 1}},
	})
}
