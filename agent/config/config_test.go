package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/config"
)

// parse returns the Config of a file that has no fault.
func parse(t *testing.T, src string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(src), "agent.hcl")
	if err != nil {
		t.Fatalf("Parse:\n%v", err)
	}
	return c
}

// placeless returns c without the places, so that two files can be compared.
func placeless(c *config.Config) *config.Config {
	config.Settings(c)
	c.Admin.Pos = config.Pos{}
	for i := range c.Listeners {
		c.Listeners[i].Pos = config.Pos{}
	}
	for i := range c.Streams {
		c.Streams[i].Pos = config.Pos{}
		for j := range c.Streams[i].Destinations {
			c.Streams[i].Destinations[j].Pos = config.Pos{}
		}
	}
	return c
}

func hostName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// The defaults of an empty file.
var (
	defaultBatch = config.Batch{MaxDelay: time.Second, RecordSize: 500 << 10}
	defaultRetry = config.Retry{Initial: 100 * time.Millisecond, Max: 30 * time.Second, Timeout: 30 * time.Second}
	defaultWAL   = config.WAL{
		MaxSize: 8 << 30, SegmentSize: 64 << 20, SegmentAsked: 64 << 20,
		Linger: linger, Checkpoints: 250 * time.Millisecond, OnFull: "reject", ProducerIdle: 168 * time.Hour, LockTimeout: 30 * time.Second,
	}
)

// linger is the default of wal and streams.
var linger = config.Linger{Accepted: time.Second}

func TestLoad_OfAGateway(t *testing.T) {
	got, err := config.Load(filepath.Join("testdata", "agent.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	aws := config.AWS{Region: "eu-west-1"}
	want := &config.Config{
		NodeName: "gateway-17", DataDir: "/var/lib/standpipe", LogLevel: "info", LogFormat: "text",
		ShutdownTimeout: 25 * time.Second,
		Listeners: []config.Listener{
			{Type: "grpc", Network: "tcp", Address: "127.0.0.1:7710", MaxRequestSize: 16 << 20, MaxConnections: 1024, MaxStreams: 1024, HTTP2Guard: true},
			{Type: "grpc", Network: "unix", Address: "/run/standpipe/grpc.sock", Mode: 0o660, MaxRequestSize: 16 << 20, MaxConnections: 1024, MaxStreams: 1024, HTTP2Guard: true},
			{Type: "socket", Network: "unix", Address: "/run/standpipe/events.sock", Mode: 0o660, MaxLineSize: 4 << 20, MaxConnections: 1024},
		},
		Admin:   config.Admin{Network: "tcp", Address: "127.0.0.1:7712"},
		WAL:     defaultWAL,
		AWS:     aws,
		Metrics: config.Metrics{PerStream: "auto"},
		Prices:  config.Prices{Currency: "USD"},
		Streams: []config.Stream{
			{Name: "clicks", Format: "json", MaxEventSize: 1000 << 10, Ack: "durable", Linger: linger, Priority: "normal", CatchUp: config.CatchUp{Order: "oldest_first"}, Destinations: []config.Destination{
				{Type: "kinesis", Name: "live", AWS: aws, Batch: defaultBatch, Retry: defaultRetry, Pace: true, Priority: "normal", Stream: "clicks", Aggregate: "kpl", AggregateBy: "key", Order: "key",
					Compression: "none", Provision: config.Provision{Mode: "on_demand", Shards: 1, Freshness: 15 * time.Minute}},
				{Type: "firehose", Name: "archive", AWS: aws, Batch: defaultBatch, Retry: defaultRetry, Pace: true, Priority: "normal", DeliveryStream: "clicks-archive", Order: "key",
					Compression: "none", Provision: config.Provision{Freshness: 15 * time.Minute}},
			}},
			{Name: "meter-*", Format: "json", MaxEventSize: 1000 << 10, Ack: "durable", Linger: linger, Priority: "normal", CatchUp: config.CatchUp{Order: "oldest_first"}, MaxStreams: 1000, Destinations: []config.Destination{
				{Type: "file", Name: "local", Priority: "normal", Batch: defaultBatch, Retry: defaultRetry,
					Path: "/var/lib/standpipe/out/${stream}", RollSize: 64 << 20, RollInterval: time.Minute},
			}},
		},
	}
	if !reflect.DeepEqual(placeless(got), want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPos_IsThatOfTheBlock(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "agent.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "agent.hcl")
	got := []string{c.Listeners[0].Pos.String(), c.Admin.Pos.String(), c.Streams[0].Pos.String(), c.Streams[0].Destinations[1].Pos.String()}
	want := []string{file + ":9:1", file + ":21:1", file + ":39:1", file + ":48:3"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestListener_HTTP(t *testing.T) {
	got := placeless(parse(t, `listener "http" {
  address = "127.0.0.1:7711"
  max_request_size = "1MiB"
  key_header = "X-Device"
  key_field = "user.id"
  cors_origins = ["https://shop.example", "*"]
  max_connections = 7
  read_timeout = "5s"
  pixel "/p.gif" {
    stream = "a"
    key = "uid"
    headers = ["Referer"]
  }
  otlp {
    stream = "logs"
    key = "host.name"
  }
}
listener "grpc" {
  address = "127.0.0.1:7710"
  http2_guard = false
  otlp { stream = "logs" }
}
stream "*" {
  destination "file" "f" { path = "x" }
}`)).Listeners
	want := []config.Listener{
		{
			Type: "http", Network: "tcp", Address: "127.0.0.1:7711", MaxRequestSize: 1 << 20, MaxConnections: 7,
			HTTP: config.HTTP{
				KeyHeader: "X-Device", KeyField: "user.id", CORSOrigins: []string{"https://shop.example", "*"},
				ReadTimeout: 5 * time.Second,
				Pixels:      []config.Pixel{{Path: "/p.gif", Stream: "a", Key: "uid", Headers: []string{"Referer"}}},
			},
			OTLP: &config.OTLP{Stream: "logs", Key: "host.name"},
		},
		{
			Type: "grpc", Network: "tcp", Address: "127.0.0.1:7710", MaxRequestSize: 16 << 20, MaxConnections: 1024, MaxStreams: 1024,
			OTLP: &config.OTLP{Stream: "logs", Key: "service.name"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaults_OfAnEmptyFile(t *testing.T) {
	got := config.Settings(parse(t, ""))
	want := &config.Config{
		NodeName: hostName(t), DataDir: "/var/lib/standpipe", LogLevel: "info", LogFormat: "text",
		ShutdownTimeout: 25 * time.Second,
		Listeners:       []config.Listener{{Type: "grpc", Network: "tcp", Address: "127.0.0.1:7710", MaxRequestSize: 16 << 20, MaxConnections: 1024, MaxStreams: 1024, HTTP2Guard: true}},
		Admin:           config.Admin{Network: "tcp", Address: "127.0.0.1:7712"},
		WAL:             defaultWAL,
		Metrics:         config.Metrics{PerStream: "auto"},
		Prices:          config.Prices{Currency: "USD"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoad_OfAMissingFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "agent.hcl"))
	var faults *config.FaultsError
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &faults) {
		t.Errorf("got %v, want one that wraps fs.ErrNotExist and is no FaultsError", err)
	}
}

func TestAWS_DestinationsOverride(t *testing.T) {
	// the block of the defaults comes last
	c := parse(t, `
stream "a" {
  destination "kinesis" "one" {
    stream = "a"
    aws {
      endpoint = "http://127.0.0.1:4567"
      region   = ""
    }
  }
  destination "firehose" "two" { delivery_stream = "a" }
  destination "file" "three" { path = "out" }
  destination "firehose" "four" {
    delivery_stream = "a"
    region          = ""
    endpoint        = "http://127.0.0.1:4567"
  }
  destination "kinesis" "five" {
    stream = "a"
    region = ""
    aws { endpoint = "http://127.0.0.1:4567" }
  }
  destination "kinesis" "six" {
    stream   = "a"
    profile  = "other"
    role_arn = ""
  }
}
aws {
  region   = "eu-west-1"
  profile  = "ship"
  role_arn = "arn:aws:iam::123456789012:role/ship"
}`)
	shared := config.AWS{Region: "eu-west-1", Profile: "ship", RoleARN: "arn:aws:iam::123456789012:role/ship"}
	own := shared
	own.Region, own.Endpoint = "", "http://127.0.0.1:4567"
	other := shared
	other.Profile, other.RoleARN = "other", ""
	for i, want := range []config.AWS{own, shared, {}, own, own, other} {
		if got := c.Streams[0].Destinations[i].AWS; got != want {
			t.Errorf("destination %d: got %+v, want %+v", i, got, want)
		}
	}
}

func TestPath_IsSharedByStreams(t *testing.T) {
	c := parse(t, `
stream "a*" {
  destination "file" "one"   { path = "/out" }
  destination "file" "two"   { path = "/out/${stream}" }
  destination "file" "three" { path = "/out/b" }
  destination "file" "four"  { path = "/out/ab/cd" }
  destination "file" "five"  { path = "/${stream}/${stream}" }
  destination "file" "six"   { path = "/ab/ac" }
}
stream "b" {
  destination "file" "one" { path = "/out" }
}`)
	for i, s := range c.Streams {
		if got := s.Destinations[0].For("ab").Path; got != "/out" {
			t.Errorf("stream %d: got %q, want /out", i, got)
		}
	}
}

func TestStream_MayBeAnARN(t *testing.T) {
	for text, want := range map[string]string{
		"arn:aws:kinesis:eu-west-1:123456789012:stream/clicks":            "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks",
		"arn:aws-cn:kinesis:cn-north-1:123456789012:stream/x-${stream}":   "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/x-a",
		"arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/A.b_c-": "arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/A.b_c-",
	} {
		c := parse(t, in(`"kinesis" "k"`, `stream = "`+text+`"`))
		if got := c.Streams[0].Destinations[0].For("a").Stream; got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestSegmentSize_IsLoweredToAQuarter(t *testing.T) {
	for _, tt := range []struct {
		wal             string
		segments, asked int64
	}{
		{`max_size = "8MiB"`, 2 << 20, 64 << 20},
		{`segment_size = "3GiB"`, 2 << 30, 3 << 30},
		{`segment_size = "1MiB"`, 1 << 20, 1 << 20},
	} {
		got := parse(t, "wal {\n"+tt.wal+"\n}").WAL
		if got.SegmentSize != tt.segments || got.SegmentAsked != tt.asked {
			t.Errorf("%s: got %d, asked %d, want %d, asked %d", tt.wal, got.SegmentSize, got.SegmentAsked, tt.segments, tt.asked)
		}
	}
}

func TestMaxAge_OfAStreamDefaultsToTheWALs(t *testing.T) {
	const destination = `destination "file" "f" { path = "${stream}" }`
	c := parse(t, `
stream "a" {
  `+destination+`
}
stream "b" {
  max_age  = "0s"
  max_size = "2MiB"
  on_full  = "block"
  `+destination+`
}
wal { max_age = "36h" }`)
	a, b := c.Streams[0], c.Streams[1]
	if a.MaxAge != 36*time.Hour || a.MaxSize != 0 || a.OnFull != "" || b.MaxAge != 0 || b.MaxSize != 2<<20 || b.OnFull != "block" {
		t.Errorf("got %+v and %+v", a, b)
	}
}

func TestRetry_DefaultInitialStaysBelowMax(t *testing.T) {
	c := parse(t, `stream "a" { 
  destination "file" "f" {
    path = "out" 
    retry { max = "20ms" }
  }
}`)
	want := config.Retry{Initial: 20 * time.Millisecond, Max: 20 * time.Millisecond, Timeout: 30 * time.Second}
	if got := c.Streams[0].Destinations[0].Retry; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"64MiB": 64 << 20, "2000KiB": 2000 << 10, "8 GiB": 8 << 30, "5000KB": 5_000_000, "5000kb": 5_000_000,
		"1.5MiB": 3 << 19, " 1MiB ": 1 << 20, "1048577B": 1048577, "1TB": 1e12, "7EiB": 7 << 60,
	} {
		if got := parse(t, `wal { max_size = "`+text+`" }`).WAL.MaxSize; got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestMinFree(t *testing.T) {
	for text, want := range map[string]int64{"5%": 50, "1.5%": 15, " 0% ": 0, "100B": 100, "0B": 0} {
		if got := parse(t, `wal { min_free = "`+text+`" }`).WAL.MinFree.Of(1000); got != want {
			t.Errorf("%q of 1000 bytes: got %d, want %d", text, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5s": 5 * time.Second, "100ms": 100 * time.Millisecond, "1m30s": 90 * time.Second,
		"1.5h": 90 * time.Minute, "0s": 0, "0": 0, "250us": 250 * time.Microsecond,
	} {
		if got := parse(t, `wal { commit_linger = "`+text+`" }`).WAL.Linger.Commit; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// A stream has the waits of wal unless it has its own, whether the file has a wal block or not.
func TestLinger_OfAStream(t *testing.T) {
	const destination = "\n destination \"file\" \"f\" { path = \"/a\" }\n}"
	for text, want := range map[string]config.Linger{
		"stream \"s\" {": {Accepted: time.Second},
		"stream \"s\" {\n commit_linger = \"250ms\"":                                                             {Commit: 250 * time.Millisecond, Accepted: time.Second},
		"wal {\n commit_linger = \"5ms\"\n accepted_linger = \"2s\"\n}\nstream \"s\" {":                          {Commit: 5 * time.Millisecond, Accepted: 2 * time.Second},
		"wal {\n commit_linger = \"5ms\"\n}\nstream \"s\" {\n commit_linger = \"0s\"\n accepted_linger = \"0s\"": {},
	} {
		if got := parse(t, text+destination).Streams[0].Linger; got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

// A stream's own limit is compared with the default of wal in a file without that block.
func TestWarnings_OfAStreamBelowTheDefaultOfWAL(t *testing.T) {
	c := parse(t, "stream \"s\" { \n max_size = \"1GiB\"\n destination \"file\" \"f\" { path = \"/a\" }\n}")
	if got := c.Warnings(); len(got) > 0 {
		t.Errorf("got %v, want none", got)
	}
}

// A profile has values for the settings that the file does not have, also without their block.
func TestProfile_GivesValuesToSettingsThatTheFileDoesNotHave(t *testing.T) {
	const stream = "\nstream \"s\" {\n destination \"file\" \"f\" { path = \"/a\" }\n}"
	gateway := config.Linger{Commit: 250 * time.Millisecond, Accepted: time.Second}
	for text, want := range map[string]config.WAL{
		"profile = \"gateway\"": {Linger: gateway, Checkpoints: 10 * time.Second},
		"wal {\n commit_linger = \"1s\"\n}\nprofile = \"gateway\"": {Linger: config.Linger{Commit: time.Second, Accepted: time.Second}, Checkpoints: 10 * time.Second},
		"profile = \"\"\nwal {\n commit_linger = \"1s\"\n}":        {Linger: config.Linger{Commit: time.Second, Accepted: time.Second}, Checkpoints: time.Second},
	} {
		c := parse(t, text+stream)
		if got := c.WAL; got.Linger != want.Linger || got.Checkpoints != want.Checkpoints || c.Streams[0].Linger != want.Linger {
			t.Errorf("%s: got %+v and %+v, want %+v", text, got, c.Streams[0].Linger, want)
		}
	}
	got, want := faultsOf(t, "profile = \"router\""+stream), []string{`1:11: profile: "router" is unknown; allowed is "gateway" or ""`}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExplained_HasTheFreeSpace(t *testing.T) {
	for text, want := range map[string]string{"": "none", "min_free = \"7%\"": `"7%"`, "min_free = \"1GiB\"": `"1GiB"`} {
		c := parse(t, "wal {\n "+text+"\n}\nstream \"s\" {\n destination \"file\" \"f\" { path = \"/a\" }\n}")
		for _, e := range c.Explained() {
			if e.Name == "min_free" && e.Value != want {
				t.Errorf("%s: got %s, want %s", text, e.Value, want)
			}
		}
	}
}

// The explanation has each setting once, with its value and its origin.
func TestExplained_NamesTheOriginOfEachValue(t *testing.T) {
	c := parse(t, "profile = \"gateway\"\nwal {\n commit_linger = \"1s\"\n}\nstream \"s\" {\n destination \"file\" \"f\" { path = \"/a\" }\n}")
	got := make(map[string]string)
	for _, e := range c.Explained() {
		key := strings.TrimSpace(e.Block + " " + e.Name)
		if got[key] != "" {
			t.Errorf("%s is explained twice", key)
		}
		got[key] = e.Value + ", " + e.From
	}
	for key, want := range map[string]string{
		"profile": `"gateway", agent.hcl:1:11`, "log_level": `"info", default`,
		"wal commit_linger": `"1s", agent.hcl:3:18`, "wal checkpoint_interval": `"10s", profile "gateway"`,
		`stream "s" commit_linger`: "as in wal, default", `stream "s" destination "file" "f" path`: `"/a", agent.hcl:6:34`,
	} {
		if got[key] != want {
			t.Errorf("%s: got %s, want %s", key, got[key], want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string][2]string{
		"127.0.0.1:7710": {"tcp", "127.0.0.1:7710"}, "127.9.9.9:0": {"tcp", "127.9.9.9:0"},
		"localhost:80": {"tcp", "localhost:80"}, "[::1]:7710": {"tcp", "[::1]:7710"},
		"unix:///run/x.sock": {"unix", "/run/x.sock"},
	} {
		l := parse(t, `listener "grpc" { address = "`+text+`" }`).Listeners[0]
		if got := [2]string{l.Network, l.Address}; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestInsecure_AllowsOtherHosts(t *testing.T) {
	c := parse(t, `
listener "socket" {
  address  = ":7711"
  insecure = true
}
admin {
  address  = "0.0.0.0:7712"
  insecure = true
}`)
	if l, a := c.Listeners[0], c.Admin; !l.Insecure || !a.Insecure || l.Address != ":7711" {
		t.Errorf("got %+v and %+v", l, a)
	}
}

// devFile is the file with the same result as Dev.
const devFile = `
data_dir = "DIR"
listener "grpc" {
  address = "127.0.0.1:7710"
}
listener "socket" {
  address = "unix://DIR/events.sock"
}
listener "http" {
  address = "127.0.0.1:7711"
}
wal {
  lock_timeout = "1s"
}
stream "*" {
  format = "text"
  destination "file" "local" {
    path = "DIR/out/${stream}"
    batch {
      max_delay = "200ms"
    }
  }
}`

func TestDev_IsAValidFile(t *testing.T) {
	got := config.Dev("/srv/standpipe-dev")
	want := placeless(parse(t, strings.ReplaceAll(devFile, "DIR", "/srv/standpipe-dev")))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Producers may not read the events of others.
func TestAdmin_AuthNeedsNamedIdentities(t *testing.T) {
	c := parse(t, `
admin {
  address = "0.0.0.0:7712"
  tls {
    cert_file = "server.pem"
    key_file  = "server.key"
  }
  auth { token_file = "admin.tokens" }
}
listener "grpc" {
  address = "127.0.0.1:7710"
  auth {}
}
identity "metering" { uids = [1001] }`)
	if got := c.Admin.Auth.Identities; got == nil || len(got) > 0 {
		t.Errorf("admin answers %#v, want nobody beside the tokens", got)
	}
	if got := c.Listeners[0].Auth.Identities; got != nil {
		t.Errorf("the listener takes %#v, want every identity", got)
	}
}
