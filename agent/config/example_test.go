package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/standpipe/standpipe/agent/config"
)

func readExample(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("..", "..", "agent.hcl.example"))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// minimal is the example without anything that may be left out.
const minimal = `
listener "grpc" {
  address = "127.0.0.1:7710"
}
listener "socket" {
  address = "unix:///run/standpipe/events.sock"
}
listener "http" {
  address = "127.0.0.1:7711"
}
listener "mqtt" {
  address = "127.0.0.1:1883"
  topic "site/+/clicks/#" { stream = "clicks" }
  topic "json/#" {
    stream    = "clicks"
    key_field = "user.id"
  }
}
stream "clicks" {
  destination "kinesis" "live" {
    stream = "clicks"
  }
  destination "firehose" "archive" {
    delivery_stream = "clicks-archive"
  }
}
stream "meter-*" {
  destination "file" "local" {
    path = "/var/lib/standpipe/out/${stream}"
  }
}
stream "orders" {
  destination "kafka" "bus" {
    brokers = ["127.0.0.1:9092"]
    topic   = "orders"
  }
  destination "s3" "lake" {
    bucket = "events"
  }
  destination "sqs" "jobs" {
    queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"
  }
  destination "relay" "site" {
    address = "gateway.site:7710"
  }
  destination "statsd" "counts" {
    address = "udp://127.0.0.1:8125"
  }
  destination "stdout" "console" {}
}`

func TestExample_IsTheDefaults(t *testing.T) {
	got := placeless(parse(t, string(readExample(t))))
	want := placeless(parse(t, minimal))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// shown matches the parts of the example in comments: a setting, or the first or last line of a block.
var shown = regexp.MustCompile(`(?m)^(\s*)# (\s*(?:\w+ *= ["\[{\d]|\w+(?: "[^"]+")* \{|\}$))`)

// unshown matches the names that the example only describes: the aws block of a destination, whose settings are shown
// beside it.
var unshown = regexp.MustCompile(`^stream\.destination\.\w+\.aws(\.|$)`)

func TestExample_HasEverySettingAndNoOther(t *testing.T) {
	src := shown.ReplaceAll(readExample(t), []byte("$1$2"))
	file, diags := hclsyntax.ParseConfig(src, "agent.hcl.example", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	in := map[string]bool{}
	gather(file.Body.(*hclsyntax.Body), "", in)

	known := map[string]bool{}
	for _, name := range config.Known() {
		known[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !in[name] && !unshown.MatchString(name) {
			t.Errorf("%s: known to the code, missing from the example", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if !known[name] {
			t.Errorf("%s: in the example, unknown to the code", name)
		}
	}
}

func gather(body *hclsyntax.Body, prefix string, in map[string]bool) {
	for name := range body.Attributes {
		in[prefix+name] = true
	}
	for _, b := range body.Blocks {
		in[prefix+b.Type] = true
		inside := prefix + b.Type + "."
		if inside == "destination." { // it has the settings of one in a stream
			inside = "stream.destination."
		}
		if b.Type == "listener" || b.Type == "destination" {
			inside += b.Labels[0] + "."
		}
		gather(b.Body, inside, in)
	}
}

func TestExample_FitsAScreen(t *testing.T) {
	for i, line := range regexp.MustCompile("\r?\n").Split(string(readExample(t)), -1) {
		if len(line) > 100 {
			t.Errorf("line %d has %d columns, want at most 100", i+1, len(line))
		}
	}
}
