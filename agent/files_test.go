package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/shipper"
)

// Every unusable file is one error, with the place of its block.
func TestCheckFiles_ReportsEachFault(t *testing.T) {
	dir := t.TempDir()
	good, other, bad := filepath.Join(dir, "good"), filepath.Join(dir, "other"), filepath.Join(dir, "bad")
	for path, text := range map[string]string{good: "secret\n", other: "another\n", bad: "two words\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener := func(tokens, cert string) string {
		return fmt.Sprintf(`
listener "http" {
  address = "127.0.0.1:0"
  auth { token_file = %q }
%s}
`, tokens, cert)
	}
	tls := fmt.Sprintf("  tls {\n    cert_file = %q\n    key_file = %q\n  }\n", filepath.Join(dir, "none.pem"), filepath.Join(dir, "none.key"))
	identity := "identity \"shop\" {\n  token_file = %q\n  streams = [\"*\"]\n}\n"
	for _, c := range []struct {
		text string
		want []string
	}{
		{fmt.Sprintf(identity, good) + listener(other, ""), nil},
		{fmt.Sprintf(identity, bad) + listener(other, tls), []string{`identity "shop": read tokens: `, "none.pem"}},
		{fmt.Sprintf(identity, good) + listener(bad, ""), []string{`listener "http": read tokens: `}},
		{fmt.Sprintf(identity, good) + listener(bad, tls), []string{`listener "http": read tokens: `, "none.pem"}},
	} {
		faults := agent.CheckFiles(parse(t, dir, c.text), hclog.NewNullLogger())
		if len(faults) != len(c.want) {
			t.Errorf("%s: got %q, want %q", c.text, faults, c.want)
			continue
		}
		for i, want := range c.want {
			if got := faults[i].String(); !strings.HasPrefix(got, "agent.hcl:") || !strings.Contains(got, want) {
				t.Errorf("got %q, want %q with its place", got, want)
			}
		}
	}
}

func TestPredict_IsOneForecastADestination(t *testing.T) {
	conf := parse(t, t.TempDir(), `
stream "s" {
  destination "kinesis" "k" {
    stream = "live"
    region = "eu-west-1"
  }
  destination "firehose" "f" {
    delivery_stream = "lake"
    region          = "eu-west-1"
  }
}
`)
	got, err := agent.Predict(conf, shipper.Traffic{PerSecond: 10, Size: 100, Keys: 5, Compression: 1})
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v, want two forecasts", got, err)
	}
	for i, want := range []string{"kinesis k", "firehose f"} {
		if f := got[i]; f.Stream != "s" || f.Type+" "+f.Name != want || f.Records == 0 || f.Billed < f.Payload {
			t.Errorf("got %+v, want %s", f, want)
		}
	}
	_, err = agent.Predict(conf, shipper.Traffic{PerSecond: 1, Size: 2 << 20, Keys: 1, Compression: 1})
	if err == nil || !strings.Contains(err.Error(), `stream "s": an event has 2097152 bytes; destination "f" takes `) && !strings.Contains(err.Error(), `destination "k" takes `) {
		t.Errorf("an event of 2 MiB: got %v", err)
	}
}
