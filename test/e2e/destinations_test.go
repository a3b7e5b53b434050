//go:build unix

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// quick are settings that make a destination retry soon; the defaults are for real outages.
const quick = `
    batch { max_delay = "50ms" }
    retry {
      initial = "20ms"
      max     = "300ms"
      timeout = "20s"
    }`

func kinesisDestination(endpoint string) string { return kinesisAs("live", "kpl", endpoint) }

func kinesisAs(name, aggregate, endpoint string) string {
	return fmt.Sprintf(`
  destination "kinesis" %q {
    stream    = "${stream}"
    aggregate = %q
    aws {
      region   = "eu-west-1"
      endpoint = %q
    }%s
  }`, name, aggregate, endpoint, quick)
}

func firehoseDestination(endpoint string) string {
	return fmt.Sprintf(`
  destination "firehose" "archive" {
    delivery_stream = "${stream}"
    aws {
      region   = "eu-west-1"
      endpoint = %q
    }%s
  }`, endpoint, quick)
}

const fileDestination = `
  destination "file" "local" { path = "${dir}/out/${stream}" }`

func streamBlock(name string, inside ...string) string {
	text := fmt.Sprintf("\nstream %q {", name)
	for _, part := range inside {
		text += part
	}
	return text + "\n}\n"
}

// One stream, three kinds of destination at once: each has every event, byte for byte, in its key's
// order, and in a calm run once. KPL is taken apart by the library that consumers use.
func TestDestinations_SensorsReachThree(t *testing.T) {
	endToEnd(t)
	k, m := startKinesalite(t), startMoto(t)
	k.create("sensors", 4)
	m.create("sensors")
	a := startAgent(t, "", streamBlock("sensors", kinesisDestination(k.endpoint()), firehoseDestination(m.endpoint()), fileDestination))

	begin := time.Now()
	all := dataSet(t, 5000)
	sent, refused := sendFitting(t, a.dial(), "sensors", all)
	stored := time.Since(begin)
	s := a.waitDelivered("sensors", len(sent), 5*time.Minute)
	t.Logf("%d events stored in %.2f s, %d refused for good, delivered to all after %.2f s", len(sent), stored.Seconds(), len(all)-len(sent), time.Since(begin).Seconds())
	if s.Refused.Events != uint64(refused) {
		t.Errorf("got %d refused in the status, want %d", s.Refused.Events, refused)
	}
	a.stop()

	c := owing(sent)
	live, records := k.read("sensors")
	for name, arrived := range map[string][]event{
		"live":    live,
		"archive": m.read(keyField()),
		"local":   delivered(t, a.path("out"), keyField(), true),
	} {
		d := s.destination(name)
		t.Logf("%s: %v; %d requests, %d records, %d bytes billed", name, c.expectWhole(t, name, arrived, 0), d.Requests, d.Records, d.BilledBytes)
	}
	if got := s.destination("live").Records; got != uint64(records) {
		t.Errorf("the status counts %d Kinesis records, the stream holds %d", got, records)
	}
}

// An event is refused at once, by name, where a destination could never take it; the largest that
// fits passes.
func TestEvents_Largest(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k, m := startKinesalite(t), startMoto(t)
	k.create("wide", 1)
	m.create("large")
	a := startAgent(t, "",
		streamBlock("large", "\n  format = \"bytes\"\n  max_event_size = \"2MiB\"", firehoseDestination(m.endpoint()))+
			streamBlock("wide", "\n  format = \"bytes\"\n  max_event_size = \"2MiB\"", kinesisDestination(k.endpoint())))
	client := a.dial()

	_, err := client.Append(t.Context(), request("large", event{"k", filler(1000)}, event{"k", filler(1_024_000)}))
	expectError(t, err, codes.InvalidArgument, "event 1", "archive", "1024000", "1023999")
	fits := event{"k", filler(1_023_999)}
	if _, err := client.Append(t.Context(), request("large", fits)); err != nil {
		t.Errorf("an event that fills a Firehose record: %v", err)
	}

	_, err = client.Append(t.Context(), request("wide", event{"k", filler(1 << 20)}))
	expectError(t, err, codes.InvalidArgument, "event 0", "live", "1048576", "1048575")
	wide := event{"k", filler(1<<20 - 1)}
	if _, err := client.Append(t.Context(), request("wide", wide)); err != nil {
		t.Errorf("an event that fills a Kinesis record: %v", err)
	}

	a.waitDelivered("large", 1, 30*time.Second)
	a.waitDelivered("wide", 1, 30*time.Second)
	a.stop()
	if got := m.objects(); len(got) != 1 || string(got[0]) != fits.data+"\n" {
		t.Errorf("got %d objects, want the event of %d bytes and its newline in one", len(got), len(fits.data))
	}
	live, _ := k.read("wide")
	owing([]event{wide}).expectWhole(t, "wide", live, 0)
}

// filler is a payload of n bytes with no newline.
func filler(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}
