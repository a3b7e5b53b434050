package gateway_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

const (
	firehose = `
stream "readings" {
  destination "firehose" "archive" {
    delivery_stream = "readings"
    aws {
      region   = "eu-west-1"
      endpoint = "${endpoint}"
    }
  }
}
`
	kinesis = `
stream "readings" {
  destination "kinesis" "live" {
    stream = "readings"
    aws {
      region   = "eu-west-1"
      endpoint = "${endpoint}"
    }
  }
}
`
)

// radio is the link of most rows.
var radio = gateway.Quality{Rate: 256_000, Delay: 150 * time.Millisecond, Loss: 0.02, Queue: 64 << 10}

// TestFlappingLink_EverythingArrives is the short run: a link that comes and goes quickly, and then stays.
func TestFlappingLink_EverythingArrives(t *testing.T) {
	t.Parallel()
	b := openBox(t, gateway.Quality{Rate: 2_000_000, Delay: 20 * time.Millisecond, Loss: 0.02, Queue: 64 << 10}, firehose)
	var flapping sync.WaitGroup
	flapping.Go(func() {
		b.flap(2*time.Second, 3*time.Second, 4)
		b.Link.Set(true)
	})
	b.produceFor(client.Batch{}, []string{"readings"}, 20, 20*time.Second)
	flapping.Wait()
	b.arrives()
}

// TestSlowLink_BacklogArrives is the short run of a link on which a large request takes longer than its timeout.
func TestSlowLink_BacklogArrives(t *testing.T) {
	t.Parallel()
	b := openBox(t, gateway.Quality{Rate: 64_000, Delay: 100 * time.Millisecond, Queue: 64 << 10}, firehose)
	b.Link.Set(false)
	b.produce("readings", 601)
	b.Link.Set(true)
	b.arrives()
}

// arrives waits until the service has every event and the agent counts none as pending.
func (b *box) arrives() {
	b.t.Helper()
	testkit.Eventually(b.t, 5*time.Minute, func() error {
		d, err := b.status()
		if err == nil && d.Pending > 0 {
			err = fmt.Errorf("%d events are pending", d.Pending)
		}
		return err
	})
	if distinct, _ := b.stored(); distinct != int(b.sent.Load()) {
		b.t.Errorf("got %d events at the service, want %d", distinct, b.sent.Load())
	}
}

// long skips a measurement unless it is wanted.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("STANDPIPE_GATEWAY") != "long" {
		t.Skip("a measurement of minutes: STANDPIPE_GATEWAY=long runs it")
	}
}

// TestMeasureLink measures how an agent uses a bad link, and prints a table.
func TestMeasureLink(t *testing.T) {
	long(t)
	var table sheet
	t.Run("rows", func(t *testing.T) {
		for _, row := range []struct {
			name, streams string
			run           func(*box) string
			quality       gateway.Quality
		}{
			{"firehose, 15 s up, 15 s down", firehose, flapping, radio},
			{"kinesis, 15 s up, 15 s down", kinesis, flapping, radio},
			{"firehose, 601 events, 16 kbit/s", firehose, backlog(601, 98*time.Second), slow(16_000)},
			{"firehose, 601 events, 8 kbit/s", firehose, backlog(601, 250*time.Second), slow(8_000)},
			{"kinesis, 601 events, 8 kbit/s", kinesis, backlog(601, 250*time.Second), slow(8_000)},
			{"firehose, 12,000 events after 60 s, 256 kbit/s", firehose, afterOutage, slow(256_000)},
			{"firehose, gzip, readings, 15 s up, 15 s down", compressed(firehose), readings(flapping), radio},
			{"firehose, gzip, readings, 601 events, 8 kbit/s", compressed(firehose), readings(backlog(601, 250*time.Second)), slow(8_000)},
			{"kinesis, gzip, readings, 601 events, 8 kbit/s", compressed(kinesis), readings(backlog(601, 250*time.Second)), slow(8_000)},
			{"firehose, gzip, readings, 12,000 events after 60 s, 256 kbit/s", compressed(firehose), readings(afterOutage), slow(256_000)},
			{"20 streams, offline for 60 s", manyStreams(20), offline(20), radio},
			{"1 stream, offline for 60 s", manyStreams(1), offline(1), radio},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				b := openBox(t, row.quality, row.streams)
				table.add(row.name, row.run(b))
			})
		}
	})
	t.Log("\n" + table.String())
}

// compressed is the stream with gzip.
func compressed(stream string) string {
	settings := "    compression = \"gzip\"\n"
	if stream == kinesis {
		settings += "    aggregate = \"lines\"\n" // the format of the KPL is not compressed
	}
	return strings.Replace(stream, "    aws {", settings+"    aws {", 1)
}

// readings is the run with events as a meter sends them.
func readings(run func(*box) string) func(*box) string {
	return func(b *box) string {
		b.data = reading
		return run(b)
	}
}

func slow(rate int) gateway.Quality {
	return gateway.Quality{Rate: rate, Delay: 150 * time.Millisecond, Queue: 64 << 10}
}

// sheet collects the lines of a table.
type sheet struct {
	mu    sync.Mutex
	lines []string
}

func (s *sheet) add(name, result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("| %s | %s |", name, result))
}

func (s *sheet) String() string { return strings.Join(s.lines, "\n") }

// flapping runs 20 events a second for five cycles.
func flapping(b *box) string {
	const up, down, cycles = 15 * time.Second, 15 * time.Second, 5
	began := time.Now()
	before := b.Link.Traffic()
	var all sync.WaitGroup
	all.Go(func() { b.flap(up, down, cycles) })
	all.Go(func() { b.produceFor(client.Batch{}, []string{"readings"}, 20, cycles*(up+down)) })
	all.Wait()
	return b.result(before, began, int((up + down).Seconds()), int(up.Seconds()))
}

// backlog runs a link with events that wait for it.
func backlog(events int, longest time.Duration) func(*box) string {
	return func(b *box) string {
		b.Link.Set(false)
		b.produce("readings", events)
		time.Sleep(5 * time.Second)
		began, before := time.Now(), b.Link.Traffic()
		b.Link.Set(true)
		b.waitDelivered(events, longest)
		return b.result(before, began, 1, 1)
	}
}

// afterOutage runs 61 s of a link after an outage of a minute.
func afterOutage(b *box) string {
	b.Link.Set(false)
	b.produce("readings", 12_000)
	time.Sleep(60 * time.Second)
	began, before := time.Now(), b.Link.Traffic()
	b.Link.Set(true)
	time.Sleep(61 * time.Second)
	return b.result(before, began, 1, 1)
}

func (b *box) waitDelivered(events int, longest time.Duration) {
	for end := time.Now().Add(longest); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if d, err := b.status(); err == nil && int(d.Delivered) >= events {
			return
		}
	}
}

// result describes a run since began, in which the link was up for the first up seconds of each period.
func (b *box) result(before gateway.Traffic, began time.Time, period, up int) string {
	b.t.Helper()
	took := time.Since(began)
	after := b.Link.Traffic()
	d, err := b.status()
	testkit.Must(b.t, err)
	distinct, again := b.stored()
	busy, of := 0, 0
	for s := range int(took.Seconds()) {
		if s%period < up {
			of++
			if after.Busy[s+int(began.Sub(b.Link.Began()).Seconds())] {
				busy++
			}
		}
	}
	carried := after.Up - before.Up
	payload := max(int(d.Delivered)*eventSize, 1)
	return fmt.Sprintf("%d of %d delivered after %.0f s, %d stored, %d twice, %d waiting, oldest %.0f s, %d KB up (%.2f a payload byte), %d KB down, %d TLS handshakes (%d resumed), sent in %d of %d s",
		d.Delivered, b.sent.Load(), took.Seconds(), distinct, again, d.Pending, d.Oldest, carried/1000, float64(carried)/float64(payload),
		(after.Down-before.Down)/1000, b.handshakes.Load(), b.resumed.Load(), busy, of)
}

func manyStreams(n int) string {
	var s strings.Builder
	for i := range n {
		s.WriteString(strings.ReplaceAll(firehose, `"readings"`, fmt.Sprintf(`"s%d"`, i)))
	}
	return s.String()
}

// offline runs streams with an event a second each on a link that is down.
func offline(streams int) func(*box) string {
	return func(b *box) string {
		b.Link.Set(false)
		before := b.Link.Traffic()
		began := time.Now()
		for time.Since(began) < 60*time.Second {
			for i := range streams {
				b.produce(fmt.Sprintf("s%d", i), 1)
			}
			time.Sleep(time.Second)
		}
		after := b.Link.Traffic()
		return fmt.Sprintf("%d packets, %d SYN, %d bursts, longest silence %.0f s", after.Packets-before.Packets, after.SYNs-before.SYNs,
			after.Bursts-before.Bursts, after.Silence.Seconds())
	}
}
