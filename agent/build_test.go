package agent_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// awsEnvironment makes this process one that has static credentials and nothing else of AWS.
func awsEnvironment(t *testing.T) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDFAKE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(name, value)
	}
}

// transcript collects an agent's log.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *transcript) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

func (l *transcript) logger() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: l}) }

// write makes a file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate returns one that signs itself.
func certificate(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(certkit.New(t, t.TempDir(), "ca").Path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A fault of this host that keeps a destination from being built or from getting credentials blocks that destination
// with the reason. Its stream still takes events, and its siblings get them.
func TestDestination_BlockedByItsEnvironmentAlone(t *testing.T) {
	for name, test := range map[string]struct {
		environment map[string]string
		settings    string // of the destination
		reason      string
	}{
		"profile of the environment": {map[string]string{"AWS_PROFILE": "nosuch"}, "", "nosuch"},
		"profile of the file":        {nil, `profile = "nosuch"`, "nosuch"},
		"missing ca bundle":          {map[string]string{"AWS_CA_BUNDLE": "/nosuch/ca.pem"}, "", "/nosuch/ca.pem"},
		"ca bundle without any":      {map[string]string{"AWS_CA_BUNDLE": write(t, "garbage")}, "", "PEM"},
		"ca bundle is a folder":      {map[string]string{"AWS_CA_BUNDLE": t.TempDir()}, "", "directory"},
		"garbage for a number":       {map[string]string{"AWS_MAX_ATTEMPTS": "many"}, "", "AWS_MAX_ATTEMPTS"},
		"garbage for a mode":         {map[string]string{"AWS_RETRY_MODE": "often"}, "", "RetryMode"},
		"role of nobody": {map[string]string{
			"AWS_CONFIG_FILE": write(t, "[profile r]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = nosuch\n"),
		}, `profile = "r"`, "nosuch"},
		"unknown credential process": {map[string]string{
			"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
			"AWS_CONFIG_FILE": write(t, "[profile p]\ncredential_process = /nosuch/program\n"),
		}, `profile = "p"`, "credential_process"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := fakeaws.Start(t)
			awsEnvironment(t)
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			dir := t.TempDir()
			common := fmt.Sprintf("endpoint = %q\n batch { max_delay = \"10ms\" }\n retry { max = \"1s\" }\n %s", srv.URL(), test.settings)
			conf := parse(t, dir, fmt.Sprintf(`
stream "s" {
  destination "file" "first" {
    path = "DIR/first"
    batch { max_delay = "10ms" }
  }
  destination "kinesis" "k" {
    stream = "s"
    %s
  }
  destination "firehose" "f" {
    delivery_stream = "s"
    %s
  }
  destination "file" "last" {
    path = "DIR/last"
    batch { max_delay = "10ms" }
  }
}`, common, common))
			a := run(t, conf)
			send(t, dial(t, conf), "s", 3)
			for _, name := range []string{"first", "last"} {
				until(t, name+" has delivered", func() bool { return destination(t, a, "s", name).Delivered.Events == 3 })
			}
			for _, name := range []string{"k", "f"} {
				until(t, name+" is blocked", func() bool { return destination(t, a, "s", name).State == admin.Blocked })
				if d := destination(t, a, "s", name); !strings.Contains(d.LastError, test.reason) || d.Pending.Events != 3 {
					t.Errorf("%s: got the reason %q and %d pending, want %q and 3", name, d.LastError, d.Pending.Events, test.reason)
				}
			}
		})
	}
}

// A file destination whose folder can't be made is blocked for that reason, and takes no sibling with it.
func TestDestination_BlockedByItsFolderAlone(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, `
stream "s" {
  destination "file" "nowhere" {
    path = "DIR/LOCK/out"
    batch { max_delay = "10ms" }
  }
  destination "file" "local" {
    path = "DIR/out"
    batch { max_delay = "10ms" }
  }
}`)
	a := run(t, conf)
	send(t, dial(t, conf), "s", 3)
	until(t, "the sibling has delivered, and the other says why it has not", func() bool {
		d := destination(t, a, "s", "nowhere")
		return destination(t, a, "s", "local").Delivered.Events == 3 && d.State == admin.Blocked && strings.Contains(d.LastError, "LOCK") && d.Pending.Events == 3
	})
}

// A destination that could not be built is one like any other once it can be: it knows its shards and keeps to
// their quota. Each reason is logged once.
func TestDestination_BuiltOnceItCanBe(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetShards(fakeaws.Shard{ID: "shardId-000000000001", First: "0"},
		fakeaws.Shard{ID: "shardId-000000000000", First: "170141183460469231731687303715884105728"}) // where key k lies
	awsEnvironment(t)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	t.Setenv("AWS_CA_BUNDLE", bundle)
	dir := t.TempDir()
	conf := parse(t, dir, fmt.Sprintf(`
stream "s" {
  destination "kinesis" "k" {
    stream       = "s"
    aggregate_by = "shard"
    endpoint     = %q
    quota { bytes = "1MiB/s" }
    batch { max_delay = "10ms" }
    retry {
      initial = "1ms"
      max     = "20ms"
    }
  }
}`, srv.URL()))
	said := &transcript{}
	a := runLogged(t, conf, said)
	until(t, "it is blocked without an event", func() bool {
		d := destination(t, a, "s", "k")
		return d.State == admin.Blocked && strings.Contains(d.LastError, bundle) && !d.RetryAt.IsZero()
	})
	client := dial(t, conf)
	send(t, client, "s", 3)
	if err := os.WriteFile(bundle, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it has another reason", func() bool { return strings.Contains(destination(t, a, "s", "k").LastError, "PEM") })
	if err := os.WriteFile(bundle, []byte(certificate(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it delivers", func() bool {
		d := destination(t, a, "s", "k")
		return d.State == admin.Running && d.Delivered.Events == 3 && d.LastError == ""
	})
	until(t, "it delivers by shard", func() bool { // once the service has listed them
		send(t, client, "s", 1)
		d := destination(t, a, "s", "k")
		return d.Shards == 2 && d.PaceBytes == 2<<20
	})
	if got, want := said.count("destination cannot be built"), 2; got != want {
		t.Errorf("got %d log lines about it, want %d, one a reason", got, want)
	}
	if got, want := said.count("destination built"), 1; got != want {
		t.Errorf("got %d log lines that it is built, want %d", got, want)
	}
}

func runLogged(t *testing.T, conf *config.Config, said *transcript) *agent.Agent {
	t.Helper()
	return start(t, conf, said.logger()).Agent
}

// Policies drop events of a destination that cannot be built too, so that it stops no producer.
func TestDestination_NotBuiltDropsWhatPoliciesSay(t *testing.T) {
	awsEnvironment(t)
	t.Setenv("AWS_PROFILE", "nosuch")
	dir := t.TempDir()
	conf := parse(t, dir, `
stream "s" {
  max_size = "64KiB"
  on_full  = "drop_oldest"
  format   = "text"
  destination "kinesis" "k" { stream = "s" }
  destination "file" "f" {
    path = "DIR/out"
    batch { max_delay = "10ms" }
  }
}`)
	a := run(t, conf)
	client := dial(t, conf)
	sendSlowly(t, a, client, "f", 40)
	d := destination(t, a, "s", "k")
	if d.State != admin.Blocked || d.Dropped.Reasons["full"] < 30 || d.Dropped.Events+d.Pending.Events != 40 || d.Pending.Events == 0 {
		t.Errorf("got %s, %+v dropped, %d pending, want blocked, and all but 64 KiB dropped", d.State, d.Dropped, d.Pending.Events)
	}
	if err := a.Status().Check(); err != nil {
		t.Error(err)
	}
}

// sendSlowly sends events of 8 KiB to stream s, each once the destination has the one before.
func sendSlowly(t *testing.T, a *agent.Agent, client standpipev1.IngestClient, name string, events int) {
	t.Helper()
	before := destination(t, a, "s", name).Delivered.Events
	for n := range events {
		if got := appendOf(t, client, 8<<10); got != codes.OK {
			t.Fatal(got)
		}
		until(t, "it is delivered", func() bool { return destination(t, a, "s", name).Delivered.Events == before+uint64(n)+1 })
	}
}

// A reload to a destination that cannot be built, and away from it, touches no other.
func TestReload_DestinationThatCannotBeBuilt(t *testing.T) {
	srv := fakeaws.Start(t)
	awsEnvironment(t)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	dir := t.TempDir()
	file := `
  destination "file" "f" {
    path = "DIR/out"
    batch { max_delay = "10ms" }
  }`
	kinesis := fmt.Sprintf(`
  destination "kinesis" "k" {
    stream   = "s"
    endpoint = %q
    batch { max_delay = "10ms" }
    retry { max = "20ms" }
  }`, srv.URL())
	conf := parse(t, dir, `stream "s" {`+file+"\n}")
	a := run(t, conf)
	client := dial(t, conf)
	reload := func(destinations string) {
		t.Helper()
		if err := a.Reload(parse(t, dir, `stream "s" {`+destinations+"\n}")); err != nil {
			t.Fatal(err)
		}
		send(t, client, "s", 3)
	}
	send(t, client, "s", 3)
	t.Setenv("AWS_CA_BUNDLE", bundle)
	reload(file + kinesis)
	if d := destination(t, a, "s", "k"); d.State != admin.Blocked || !strings.Contains(d.LastError, bundle) {
		t.Errorf("got %s with %q after the reload, want blocked for the bundle", d.State, d.LastError)
	}
	reload(kinesis + file) // in another order: nothing has changed
	reload(file)
	until(t, "it is parked", func() bool { return destination(t, a, "s", "k").State == admin.Parked })
	if err := os.WriteFile(bundle, []byte(certificate(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(file + kinesis)
	until(t, "both have all, but for the three events that k missed", func() bool {
		return destination(t, a, "s", "f").Delivered.Events == 15 && destination(t, a, "s", "k").Delivered.Events == 12
	})
	if err := a.Status().Check(); err != nil {
		t.Error(err)
	}
	if got, want := lines(t, dir+"/out"), 15; got != want {
		t.Errorf("got %d lines in files, want %d", got, want)
	}
}

// lines returns how many lines the files of a destination have.
func lines(t *testing.T, dir string) int {
	t.Helper()
	return linesOf(t, dir+"/*/*/*/*/*")
}

func linesOf(t *testing.T, pattern string) (n int) {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(text, []byte("\n"))
	}
	return n
}
