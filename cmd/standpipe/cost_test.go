package main

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const costConfig = `
prices {
  currency    = "EUR"
  firehose_gb = "0.03"
}
stream "clicks" {
  destination "kinesis" "live" { stream = "clicks" }
  destination "firehose" "archive-of-everything" { delivery_stream = "c" }
}
stream "meter-*" {
  destination "file" "local" { path = "/out/${stream}" }
  destination "firehose" "small" {
    delivery_stream = "m"
    compression     = "gzip"
  }
}`

func costFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, []byte(costConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func costOf(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := cli.Run(newRoot(), append([]string{"cost"}, args...), nil, &out, &errs); code != cli.ExitDone {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	return out.String()
}

func TestCost_FitsAScreen(t *testing.T) {
	got := costOf(t, costFile(t), "--events-per-second", "500", "--event-size", "512B", "--keys", "100", "--compression-ratio", "5")
	for _, line := range strings.Split(got, "\n") {
		if n := utf8.RuneCountInString(line); n > cli.TextWidth {
			t.Errorf("a line of %d columns: %q", n, line)
		}
	}
	for _, want := range []string{"500 events/s of 512 B", "stream meter-*", "EUR", "not set", "put payload units", "together", "GB a day; a card of 4.0 GB with 3,000 cycles lasts", "MB a day"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	t.Log("\n" + got)
}

func TestCost_IsPayloadTimesPrice(t *testing.T) {
	var b bill
	if err := json.Unmarshal([]byte(costOf(t, costFile(t), "--json", "--stream", "clicks", "--events-per-second", "500", "--event-size", "512B")), &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Rows) != 2 {
		t.Fatalf("got %d destinations, want 2", len(b.Rows))
	}
	f := b.Rows[1]
	payload := 500.0 * 512 * monthSeconds
	if f.Payload != payload || f.Billed < payload || f.Billed > 1.03*payload {
		t.Errorf("got payload %.0f and billed %.0f, want %.0f and little more", f.Payload, f.Billed, payload)
	}
	if want := f.Billed / (1 << 30) * 0.03; f.Cost == nil || f.Cost.Currency != "EUR" || f.Cost.Amount < want*0.999 || f.Cost.Amount > want*1.001 {
		t.Errorf("got cost %+v, want %.2f EUR", f.Cost, want)
	}
	if k := b.Rows[0]; k.Cost != nil || k.PutUnits == 0 {
		t.Errorf("got %+v for Kinesis, want put units and no cost, as no price is set", k)
	}
}

// Each service has its units: PUT requests of S3, steps of 64 KiB of SQS, GB of Kafka. Others have no price.
func TestCost_OfEachService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.hcl")
	text := `data_dir = "/data"
aws { region = "eu-west-1" }
prices {
  currency             = "EUR"
  s3_thousand_requests = "0.005"
  s3_gb                = "0.02"
  sqs_million_requests = "0.4"
  kafka_gb             = "0.1"
}
stream "orders" {
  destination "s3" "lake" {
    bucket      = "events"
    compression = "none"
  }
  destination "sqs" "jobs" { queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs" }
  destination "kafka" "bus" {
    brokers = ["127.0.0.1:9092"]
    topic   = "orders"
  }
  destination "relay" "site" { address = "gateway.site:7710" }
  destination "statsd" "counts" { address = "udp://127.0.0.1:8125" }
  destination "stdout" "console" {}
}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bill
	if err := json.Unmarshal([]byte(costOf(t, path, "--json", "--events-per-second", "200", "--event-size", "20KiB")), &b); err != nil {
		t.Fatal(err)
	}
	gigabytes := 200.0 * (20 << 10) * monthSeconds / (1 << 30)
	for i, want := range []struct{ cost, off float64 }{
		{gigabytes*0.02 + gigabytes*1024/64*15/1000*0.005, 0.01}, // objects of 64 MiB take 15 requests
		{200.0 / 10 * 4 * monthSeconds / 1e6 * 0.4, 0.05},        // 10 messages of 20 KiB, in steps of 64 KiB
		{gigabytes * 0.1, 0.01},
	} {
		if r := b.Rows[i]; r.Cost == nil || math.Abs(r.Cost.Amount-want.cost) > want.off*want.cost {
			t.Errorf("%s: got %+v, want %.2f", r.Type, r.Cost, want.cost)
		}
	}
	for _, r := range b.Rows[3:] {
		if r.Cost != nil || r.Requests == 0 || r.Payload == 0 {
			t.Errorf("got %+v", r)
		}
	}
	table := costOf(t, path, "--events-per-second", "200", "--event-size", "1KiB")
	for _, want := range []string{"requests of up to 64 KiB", "EUR"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if strings.Contains(table, "not set") || strings.Contains(table, "put payload") {
		t.Errorf("got\n%s", table)
	}
}

func TestCost_RejectsInvalidTraffic(t *testing.T) {
	path := costFile(t)
	for _, args := range [][]string{
		{"--events-per-second", "0"}, {"--events-per-second", "NaN"}, {"--event-size", "0"}, {"--event-size", "big"}, {"--keys", "0"},
		{"--compression-ratio", "0.5"}, {"--card-size", "small"}, {"--card-cycles", "0"}, {"--stream", "none"}, {"--address", "nowhere"},
	} {
		var out, errs bytes.Buffer
		if code := cli.Run(newRoot(), append([]string{"cost", path}, args...), nil, &out, &errs); code != cli.ExitUsage || errs.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, errs.String())
		}
	}
	var out, errs bytes.Buffer
	if code := cli.Run(newRoot(), []string{"cost", path, "--event-size", "2MiB"}, nil, &out, &errs); code != cli.ExitFailed || !strings.Contains(errs.String(), "takes") {
		t.Errorf("an event that fits nowhere: exit code %d, %q", code, errs.String())
	}
}

func TestCost_OfARunningAgent(t *testing.T) {
	s := sampleStatus()
	s.Streams[0].Destinations[1].BilledBytes = 10 << 30
	s.Streams[0].Destinations[1].Cost = &admin.Cost{Amount: 7, Currency: "GBP"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(s)
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	got := costOf(t, costFile(t), "--address", address, "--card-size", "8GB")
	for _, want := range []string{"so far", "0.3000 EUR", "flash  8.10 GB a day; a card of 8.0 GB with 3,000 cycles lasts 8.1 years\n", "link   45.3 MB a day\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	var out, errs bytes.Buffer
	if code := cli.Run(newRoot(), []string{"status", "--cost", "--address", address}, nil, &out, &errs); code != cli.ExitDone || !strings.Contains(out.String(), "7.00 GBP") {
		t.Errorf("exit code %d, want the agent's own figures in\n%s%s", code, out.String(), errs.String())
	}
	got = runWith("status", "--card-size", "4GB", "--card-cycles", "1000", "--address", address).stdout
	if want := "at the writes of the last hour a card of 4.0 GB with 1,000 cycles lasts 1.4 years\n"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}
