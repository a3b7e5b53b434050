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

// The configuration in docs/destinations.md, with the addresses of stand-ins, delivers each event to each destination.
func TestDestinations_OneStreamToAll(t *testing.T) {
	endToEnd(t)
	broker := kafkakit.Start(t, nil)
	broker.CreateTopic("orders", 3)
	store := startObjectStore(t, "moto")
	queue := queuesAt(t, strings.TrimPrefix(store.endpoint, "http://"))
	counts := startExporter(t)
	jobs := queue.create("jobs.fifo")
	site := startAgent(t, "", streamBlock("orders", fileDestination))

	a := newAgent(t, "aws {\n  region = \""+region+"\"\n  endpoint = \""+store.endpoint+"\"\n}\n", "")
	block := documentedStream(t)
	for _, change := range [][2]string{
		{"127.0.0.1:9092", broker.Address()},
		{`bucket        = "events"`, "bucket = \"events\"\n    path_style = true"},
		{`roll_interval = "5m"`, `roll_interval = "1s"`},
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo", jobs},
		{"gateway.site:7710", site.grpc},
		{"127.0.0.1:8125", counts.udp},
		{`interval = "10s"`, `interval = "1s"`},
		{"/var/lib/standpipe/out/${stream}", a.path("out")},
	} {
		if !strings.Contains(block, change[0]) {
			t.Fatalf("docs/destinations.md has no %q", change[0])
		}
		block = strings.Replace(block, change[0], change[1], 1)
	}
	a.configure(block)
	a.start()
	sent := readings(91, 150)
	send(t, a.dial(), "orders", sent)
	a.waitDelivered("orders", len(sent), time.Minute)
	site.waitDelivered("orders", len(sent), 30*time.Second)
	a.stop()
	site.stop()

	fromStore, _ := store.events("orders")
	for name, got := range map[string][]event{
		"bus": arrived(broker, "orders"), "lake": fromStore, "jobs": queue.read(jobs),
		"site": delivered(t, site.path("out"), "sensor", true), "local": delivered(t, a.path("out"), "sensor", true), "console": printed(t, a),
	} {
		owing(sent).expectWhole(t, name, got, 0)
	}
	if got := counts.totals()["events_orders"]; got != len(sent) {
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
