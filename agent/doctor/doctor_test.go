package doctor_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/doctor"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// examine returns the checks of a configuration in dir, by name. DIR in the text stands for dir.
func examine(t *testing.T, dir, text string, o doctor.Options) map[string]doctor.Check {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFAKE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if !strings.Contains(text, "data_dir") {
		text = "data_dir = \"DIR/data\"\n" + text
	}
	if !strings.Contains(text, "admin {") {
		text += "\nadmin { address = \"unix://DIR/admin.sock\" }"
	}
	if !strings.Contains(text, "listener ") {
		text += "\nlistener \"socket\" { address = \"unix://DIR/events.sock\" }"
	}
	conf, err := config.Parse([]byte(strings.ReplaceAll(text, "DIR", dir)), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	checks := make(map[string]doctor.Check)
	for _, c := range doctor.Run(t.Context(), conf, o) {
		if (c.Remedy == "") != (c.Result == doctor.OK) || c.Text == "" {
			t.Errorf("got %+v, want a text, and a remedy unless it is ok", c)
		}
		checks[c.Name] = c
	}
	return checks
}

const toFile = `
stream "s" {
  destination "file" "local" { path = "DIR/out/${stream}" }
}`

func want(t *testing.T, checks map[string]doctor.Check, name string, result doctor.Result, parts ...string) {
	t.Helper()
	c, ok := checks[name]
	if !ok || c.Result != result {
		t.Errorf("%s: got %+v, want %s", name, c, result)
	}
	for _, part := range parts {
		if !strings.Contains(c.Text+" -> "+c.Remedy, part) {
			t.Errorf("%s: got %q -> %q, want %q in it", name, c.Text, c.Remedy, part)
		}
	}
}

func TestDoctor_OfASoundHost(t *testing.T) {
	dir := t.TempDir()
	last := 0
	checks := examine(t, dir, toFile+"\nwal {\n  max_size = \"1MiB\"\n}", doctor.Options{Progress: func(done, all int) {
		if done != last+1 || done > all {
			t.Errorf("got progress %d of %d after %d", done, all, last)
		}
		last = done
	}})
	for name, c := range checks {
		switch {
		case c.Result == doctor.Failed && name != "data_dir": // the tests may run on tmpfs
			t.Errorf("got %+v", c)
		}
	}
	if last != len(checks) {
		t.Errorf("got progress of %d checks, want %d", last, len(checks))
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("got %q %q left behind", left, hidden)
	}
}

func TestDoctor_CountsTheWarnings(t *testing.T) {
	for n, text := range []string{"1 stream, 1 listener", "1 warning, the first: agent.hcl:", "2 warnings, the first: agent.hcl:"} {
		result := doctor.Warning
		if n == 0 {
			result = doctor.OK
		}
		src := ""
		for i := range n {
			src += fmt.Sprintf("\nstream \"home%d\" {\n  destination \"file\" \"local\" { path = \"DIR/$HOME/%d/${stream}\" }\n}", i, i)
		}
		want(t, examine(t, t.TempDir(), toFile+src, doctor.Options{}), "configuration", result, text)
	}
}

func TestDoctor_FindsFaultsOfTheHost(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	checks := examine(t, dir, fmt.Sprintf(`
data_dir = "DIR/file/data"
listener "grpc" { address = %q }
listener "http" {
  address  = "203.0.113.1:7711"
  insecure = true
}
listener "socket" { address = "unix://DIR/file/events.sock" }
identity "a" { token_file = "DIR/none" }
stream "s" {
  destination "file" "local" { path = "DIR/file/out" }
}`, taken.Addr()), doctor.Options{})
	want(t, checks, "data_dir", doctor.Failed, "a file, not a folder", "chown")
	want(t, checks, "space", doctor.Skipped)
	want(t, checks, "sync", doctor.Skipped)
	want(t, checks, "listener grpc", doctor.Failed, "in use", "another port")
	want(t, checks, "listener http", doctor.Failed, "set an address of this host")
	want(t, checks, "listener socket", doctor.Failed, "a file, not a folder")
	want(t, checks, "files", doctor.Failed, "none", "validate --files")
	want(t, checks, "s/local file", doctor.Failed, "a file, not a folder")
}

func TestDoctor_ComparesTheSpace(t *testing.T) {
	checks := examine(t, t.TempDir(), toFile+"\nwal { max_size = \"8000000GiB\" }", doctor.Options{})
	want(t, checks, "space", doctor.Warning, "the disk is full before the log", "set max_size to")
	checks = examine(t, t.TempDir(), toFile+"\nwal {\n  max_size = \"1MiB\"\n  min_free = \"99.999%\"\n}", doctor.Options{})
	want(t, checks, "space", doctor.Failed, "no event is accepted", "min_free")
}

func TestDoctor_ComparesTheClock(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}))
	defer srv.Close()
	text := fmt.Sprintf("stream \"s\" {\n  destination \"firehose\" \"f\" {\n    delivery_stream = \"x\"\n    region = \"eu-west-1\"\n    endpoint = %q\n  }\n}", srv.URL)
	for off, result := range map[time.Duration]doctor.Result{0: doctor.OK, 2 * time.Minute: doctor.Warning, -10 * time.Minute: doctor.Failed} {
		checks := examine(t, t.TempDir(), text, doctor.Options{Now: func() time.Time { return time.Now().Add(off) }})
		want(t, checks, "clock", result, srv.URL)
	}
}

func TestDoctor_TriesDestinations(t *testing.T) {
	srv := fakeaws.Start(t)
	text := fmt.Sprintf(`
aws {
  region   = "eu-west-1"
  endpoint = %q
}
stream "s" {
  destination "kinesis" "live" { stream = "s" }
  destination "stdout" "console" {}
  destination "statsd" "counts" {
    address = "udp://127.0.0.1:8125"
    metric  = "events"
  }
}
stream "meter-*" {
  destination "kinesis" "each" { stream = "${stream}" }
}`, srv.URL())
	checks := examine(t, t.TempDir(), text, doctor.Options{})
	want(t, checks, "s/live kinesis", doctor.OK, "the stream is there")
	want(t, checks, "s/console stdout", doctor.OK)
	want(t, checks, "s/counts statsd", doctor.OK, "whether a server is there")
	want(t, checks, "meter-*/each kinesis", doctor.Skipped, "several streams")
	if srv.Stored() > 0 {
		t.Error("a check stores events")
	}
}

func TestDoctor_NamesTheRemedyOfAServicesError(t *testing.T) {
	for code, part := range map[string]string{
		"ResourceNotFoundException":   "create the stream",
		"AccessDeniedException":       "standpipe iam",
		"ExpiredTokenException":       "renew the credentials",
		"UnrecognizedClientException": "check the access key",
		"SignatureDoesNotMatch":       "the clock of the host",
		"LimitExceededException":      "try again later",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
		}))
		text := fmt.Sprintf("stream \"s\" {\n  destination \"kinesis\" \"live\" {\n    stream = \"s\"\n    region = \"eu-west-1\"\n    endpoint = %q\n  }\n}", srv.URL)
		want(t, examine(t, t.TempDir(), text, doctor.Options{}), "s/live kinesis", doctor.Failed, code, part)
		srv.Close()
	}
	text := "stream \"s\" {\n  destination \"kinesis\" \"live\" {\n    stream = \"s\"\n    region = \"eu-west-1\"\n    endpoint = \"http://127.0.0.1:1\"\n  }\n}"
	want(t, examine(t, t.TempDir(), text, doctor.Options{}), "s/live kinesis", doctor.Failed, "refused", "firewall", "127.0.0.1:1")
	text = `stream "s" {
  destination "kafka" "bus" {
    brokers = ["127.0.0.1:1"]
    topic   = "t"
  }
  destination "relay" "site" { address = "127.0.0.1:1" }
}`
	checks := examine(t, t.TempDir(), text, doctor.Options{Timeout: 20 * time.Second})
	want(t, checks, "s/bus kafka", doctor.Failed)
	want(t, checks, "s/site relay", doctor.Failed, "127.0.0.1:1")
}

// A right that only the check needs is no failure.
func TestDoctor_SkipsWhatOnlyTheCheckMayNot(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"no"}`)
	}))
	defer srv.Close()
	text := fmt.Sprintf("stream \"s\" {\n  destination \"firehose\" \"f\" {\n    delivery_stream = \"x\"\n    region = \"eu-west-1\"\n    endpoint = %q\n  }\n}", srv.URL)
	want(t, examine(t, t.TempDir(), text, doctor.Options{}), "s/f firehose", doctor.Skipped, "firehose:DescribeDeliveryStream")
}

// A server that never responds ends one check, after its timeout.
func TestDoctor_IsBoundedInTime(t *testing.T) {
	hang, release := context.WithCancel(context.Background())
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang.Done() }))
	defer srv.Close()
	defer release()
	text := fmt.Sprintf("stream \"s\" {\n  destination \"kinesis\" \"live\" {\n    stream = \"s\"\n    region = \"eu-west-1\"\n    endpoint = %q\n  }\n  destination \"stdout\" \"o\" {}\n}", srv.URL)
	checks := examine(t, t.TempDir(), text, doctor.Options{Timeout: 3 * time.Second})
	want(t, checks, "s/live kinesis", doctor.Failed)
	want(t, checks, "s/o stdout", doctor.OK)
}
