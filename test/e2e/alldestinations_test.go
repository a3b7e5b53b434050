//go:build unix

package e2e_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/kafkakit"
)

// documentedStream returns the configuration of docs/destinations.md that has all destinations.
func documentedStream(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/destinations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```hcl\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed || !strings.HasPrefix(block, `stream "orders"`) {
		t.Fatal("docs/destinations.md does not begin with the stream orders")
	}
	return block
}

// everything is an agent with the stream of docs/destinations.md, and a stand-in for each of its destinations.
type everything struct {
	*agent
	broker *kafkakit.Broker
	store  *objectStore
	queue  *queues
	jobs   string // the URL of the queue
	counts *exporter
	site   *agent
	block  string // of the stream
}

// newEverything starts the stand-ins, and configures the agent.
func newEverything(t *testing.T, interval string) *everything {
	t.Helper()
	e := &everything{broker: kafkakit.Start(t, nil), store: startObjectStore(t, "moto"), counts: startExporter(t)}
	e.broker.CreateTopic("orders", 3)
	e.queue = queuesAt(t, strings.TrimPrefix(e.store.endpoint, "http://"))
	e.jobs = e.queue.create("jobs.fifo")
	e.site = startAgent(t, "", streamBlock("orders", fileDestination))
	e.agent = newAgent(t, "aws {\n  region = \""+region+"\"\n  endpoint = \""+e.store.endpoint+"\"\n}\n", "")
	block := documentedStream(t)
	for _, change := range [][2]string{
		{"127.0.0.1:9092", e.broker.Address()},
		{`bucket        = "events"`, "bucket = \"events\"\n    path_style = true"},
		{`roll_interval = "5m"`, `roll_interval = "` + interval + `"`},
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo", e.jobs},
		{"gateway.site:7710", e.site.grpc},
		{"127.0.0.1:8125", e.counts.udp},
		{`interval = "10s"`, `interval = "1s"`},
		{"/var/lib/standpipe/out/${stream}", e.path("out")},
	} {
		if !strings.Contains(block, change[0]) {
			t.Fatalf("docs/destinations.md has no %q", change[0])
		}
		block = strings.Replace(block, change[0], change[1], 1)
	}
	e.block = block
	e.configure(block)
	return e
}

// The configuration in docs/destinations.md, with the addresses of stand-ins, delivers each event to each destination.
func TestDestinations_OneStreamToAll(t *testing.T) {
	endToEnd(t)
	e := newEverything(t, "1s")
	e.start()
	sent := readings(91, 150)
	send(t, e.dial(), "orders", sent)
	e.waitDelivered("orders", len(sent), time.Minute)
	e.site.waitDelivered("orders", len(sent), 30*time.Second)
	e.stop()
	e.site.stop()

	fromStore, _ := e.store.events("orders")
	for name, got := range map[string][]event{
		"bus": arrived(e.broker, "orders"), "lake": fromStore, "jobs": e.queue.read(e.jobs),
		"site": delivered(t, e.site.path("out"), "sensor", true), "local": delivered(t, e.path("out"), "sensor", true), "console": printed(t, e.agent),
	} {
		owing(sent).expectWhole(t, name, got, 0)
	}
	if got := e.counts.totals()["events_orders"]; got != len(sent) {
		t.Errorf("counts: got %d, want %d", got, len(sent))
	}
}

// printed returns the events among the lines that the agent has written.
func printed(t *testing.T, a *agent) (events []event) {
	t.Helper()
	for line := range strings.SplitSeq(a.out.String(), "\n") {
		if !strings.HasPrefix(line, `{"sensor"`) {
			continue
		}
		var reading struct{ Sensor string }
		if err := json.Unmarshal([]byte(line), &reading); err != nil {
			t.Fatalf("got the line %q: %v", line, err)
		}
		events = append(events, event{reading.Sensor, line})
	}
	return events
}
