package main

import (
	"bytes"
	"encoding/json"
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
	for _, want := range []string{"500 events/s of 512 B", "stream meter-*", "EUR", "not set", "put payload units", "together"} {
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

func TestCost_RejectsInvalidTraffic(t *testing.T) {
	path := costFile(t)
	for _, args := range [][]string{
		{"--events-per-second", "0"}, {"--events-per-second", "NaN"}, {"--event-size", "0"}, {"--event-size", "big"}, {"--keys", "0"},
		{"--compression-ratio", "0.5"}, {"--stream", "none"}, {"--address", "nowhere"},
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
	got := costOf(t, costFile(t), "--address", address)
	if !strings.Contains(got, "so far") || !strings.Contains(got, "0.3000 EUR") {
		t.Errorf("want the file's prices in\n%s", got)
	}
	var out, errs bytes.Buffer
	if code := cli.Run(newRoot(), []string{"status", "--cost", "--address", address}, nil, &out, &errs); code != cli.ExitDone || !strings.Contains(out.String(), "7.00 GBP") {
		t.Errorf("exit code %d, want the agent's own figures in\n%s%s", code, out.String(), errs.String())
	}
}
