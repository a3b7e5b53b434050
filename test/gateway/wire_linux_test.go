package gateway_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

// awsName is a name of AWS's, which the boxes of these measurements look up in a file of hosts.
const awsName = "kinesis.eu-west-1.amazonaws.com"

// named makes the service answer as AWS's endpoint: a Kinesis destination sends CBOR to it.
func (b *box) named() {
	b.t.Helper()
	hosts := b.path("hosts")
	testkit.Must(b.t, os.WriteFile(hosts, []byte(gateway.ServiceAddress+" "+awsName+"\n"), 0o600))
	b.under = []string{testkit.Tool(b.t, "unshare"), "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts}
}

// TestMeasureWire measures the bytes on the wire for a byte of payload, for each way to send readings over a bad link.
func TestMeasureWire(t *testing.T) {
	long(t)
	const json, cbor = "https://" + service, "https://" + awsName
	kinesisWith := func(settings string) string { return strings.Replace(kinesis, "    aws {", settings+"\n    aws {", 1) }
	firehoseWith := func(settings string) string { return strings.Replace(firehose, "    aws {", settings+"\n    aws {", 1) }
	var table sheet
	t.Run("rows", func(t *testing.T) {
		for _, row := range []struct{ name, endpoint, destination string }{
			{"kinesis, kpl, JSON", json, kinesisWith("")},
			{"kinesis, kpl", cbor, kinesisWith("")},
			{"kinesis, kpl by shard", cbor, kinesisWith(`aggregate_by = "shard"`)},
			{"kinesis, kpl, 10 s", cbor, kinesisWith(`batch { max_delay = "10s" }`)},
			{"kinesis, none", cbor, kinesisWith(`aggregate = "none"`)},
			{"kinesis, lines", cbor, kinesisWith(`aggregate = "lines"`)},
			{"kinesis, lines, gzip", cbor, kinesisWith(`aggregate = "lines"` + "\n" + `compression = "gzip"`)},
			{"kinesis, lines, zstd", cbor, kinesisWith(`aggregate = "lines"` + "\n" + `compression = "zstd"`)},
			{"kinesis, lines, gzip, 10 s", cbor, kinesisWith(`aggregate = "lines"` + "\n" + `compression = "gzip"` + "\n" + `batch { max_delay = "10s" }`)},
			{"kinesis, lines, gzip, JSON", json, kinesisWith(`aggregate = "lines"` + "\n" + `compression = "gzip"`)},
			{"firehose", json, firehoseWith("")},
			{"firehose, 10 s", json, firehoseWith(`batch { max_delay = "10s" }`)},
			{"firehose, gzip", json, firehoseWith(`compression = "gzip"`)},
			{"firehose, zstd", json, firehoseWith(`compression = "zstd"`)},
			{"firehose, gzip, 10 s", json, firehoseWith(`compression = "gzip"` + "\n" + `batch { max_delay = "10s" }`)},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				b := newBox(t, radio, "bandwidth = \"16KiB/s\"\n"+strings.ReplaceAll(row.destination, "${endpoint}", row.endpoint))
				b.data = reading
				if row.endpoint == cbor {
					b.named()
				}
				b.start()
				table.add(row.name, b.wire())
			})
		}
	})
	t.Log("\n" + table.String())
}

// wire sends 20 readings a second for a minute, and then a backlog of 3,000.
func (b *box) wire() string {
	b.t.Helper()
	carried := func(send func()) float64 {
		before, sent := b.Link.Traffic().Up, b.sent.Load()
		send()
		b.waitDelivered(int(b.sent.Load()), 5*time.Minute)
		return float64(b.Link.Traffic().Up-before) / float64(eventSize*(b.sent.Load()-sent))
	}
	trickle := carried(func() { b.produceFor(client.Batch{}, []string{"readings"}, 20, time.Minute) })
	connections := b.handshakes.Load()
	began := time.Now()
	backlog := carried(func() {
		b.Link.Set(false)
		b.produce("readings", 3000)
		time.Sleep(10 * time.Second)
		began = time.Now()
		b.Link.Set(true)
	})
	distinct, again := b.stored()
	if distinct != int(b.sent.Load()) {
		b.t.Errorf("got %d events at the service, want %d", distinct, b.sent.Load())
	}
	return fmt.Sprintf("%.2f | %.2f | %.0f s | %d of %d twice | %d, then %d | %d", trickle, backlog, time.Since(began).Seconds(), again, distinct,
		connections, b.handshakes.Load()-connections, b.resumed.Load())
}
