package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// parse is the configuration of startAgent with the streams given; DIR in them is dir.
func parse(t *testing.T, dir, streams string) *config.Config {
	t.Helper()
	text := strings.ReplaceAll(`
data_dir         = "DIR"
shutdown_timeout = "100ms"
listener "grpc" {
  address = "unix://DIR/grpc.sock"
  mode    = "0600"
}
admin { address = "unix://DIR/admin.sock" }
`+streams, "DIR", dir)
	c, err := config.Parse([]byte(text), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t testing.TB, conf *config.Config) *agent.Agent {
	t.Helper()
	a, err := agent.New(t.Context(), conf, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

func dial(t testing.TB, conf *config.Config) standpipev1.IngestClient {
	t.Helper()
	return standpipev1.NewIngestClient(grpckit.Dial(t, "unix://"+conf.Listeners[0].Address))
}

func send(t *testing.T, client standpipev1.IngestClient, stream string, events int) {
	t.Helper()
	r := &standpipev1.AppendRequest{Stream: stream}
	for i := range events {
		r.Events = append(r.Events, &standpipev1.Event{PartitionKey: "k", Data: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	if _, err := client.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func destination(t *testing.T, a *agent.Agent, stream, name string) admin.DestinationStatus {
	t.Helper()
	for _, s := range a.Status().Streams {
		for _, d := range s.Destinations {
			if s.Name == stream && d.Name == name {
				return d
			}
		}
	}
	return admin.DestinationStatus{}
}

// until polls check, since the expected change happens on a disk.
func until(t *testing.T, what string, check func() bool) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		if !check() {
			return errors.New(what)
		}
		return nil
	})
}

func count(t *testing.T, pattern string) int {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

const (
	both = `
stream "s" {
  destination "file" "one" {
    path = "DIR/one"
    batch { max_delay = "10ms" }
  }
  destination "file" "two" {
    path = "DIR/two"
    batch { max_delay = "10ms" }
  }
}`
	oneOnly = `
stream "s" {
  destination "file" "one" {
    path = "DIR/one"
    batch { max_delay = "10ms" }
  }
}
stream "new-*" {
  destination "file" "one" { path = "DIR/new" }
}`
)

func TestReload_ChangesOnlyChangedParts(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, both)
	a := run(t, conf)
	client := dial(t, conf)
	send(t, client, "s", 10)
	until(t, "both have delivered", func() bool {
		return destination(t, a, "s", "one").Delivered.Events == 10 && destination(t, a, "s", "two").Delivered.Events == 10
	})

	if err := a.Reload(parse(t, dir, oneOnly)); err != nil {
		t.Fatal(err)
	}
	if got := destination(t, a, "s", "two"); got.State != admin.Parked || got.Type != "file" {
		t.Errorf("the destination that is gone is %s of type %q, want parked of type file", got.State, got.Type)
	}
	if open := count(t, dir+"/one/*/*/*/*/*.tmp"); open != 1 {
		t.Errorf("the destination that stays has %d open files, want the one that it had", open)
	}
	if done := count(t, dir+"/two/*/*/*/*/*.jsonl"); done != 1 {
		t.Errorf("the destination that is gone has %d finished files, want 1", done)
	}
	send(t, client, "new-stream", 3)
	send(t, client, "s", 5)
	until(t, "one goes on", func() bool { return destination(t, a, "s", "one").Delivered.Events == 15 })
	if got := destination(t, a, "s", "two"); got.Delivered.Events != 10 || got.Pending.Events != 0 || got.Dropped.Reasons["parked"] != 5 {
		t.Errorf("the parked destination has %+v, want 10 delivered and the later 5 dropped", got)
	}

	if err := a.Reload(parse(t, dir, both)); err != nil {
		t.Fatal(err)
	}
	send(t, client, "s", 2)
	until(t, "two continues with new events", func() bool { return destination(t, a, "s", "two").Delivered.Events == 12 })
	_, err := client.Append(t.Context(), &standpipev1.AppendRequest{
		Stream: "new-stream", Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}},
	})
	if status.Code(err) != codes.NotFound {
		t.Errorf("got %v for a stream that is gone, want NOT_FOUND", err)
	}
	if err := a.Status().Check(); err != nil {
		t.Error(err)
	}
}

// TestPattern_KeepsToMaxStreams: existing streams stay open with any max_streams, and a larger one
// allows new streams.
func TestPattern_KeepsToMaxStreams(t *testing.T) {
	dir := t.TempDir()
	pattern := func(most int) *config.Config {
		return parse(t, dir, fmt.Sprintf(`
stream "s-*" {
  max_streams = %d
  destination "file" "one" { path = "DIR/out" }
}
stream "s-named" {
  destination "file" "one" { path = "DIR/out" }
}`, most))
	}
	conf := pattern(2)
	a := run(t, conf)
	client := dial(t, conf)
	refused := func(stream, why string) {
		t.Helper()
		_, err := client.Append(t.Context(), &standpipev1.AppendRequest{
			Stream: stream, Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}},
		})
		if got := status.Convert(err); got.Code() != codes.ResourceExhausted || !strings.Contains(got.Message(), why) {
			t.Errorf("%s: got %v, want RESOURCE_EXHAUSTED and %q", stream, err, why)
		}
	}
	send(t, client, "s-1", 1)
	send(t, client, "s-2", 1)
	refused("s-3", `"s-*" has 2 already; max_streams`)
	send(t, client, "s-named", 1)
	if err := a.Reload(pattern(1)); err != nil {
		t.Fatal(err)
	}
	send(t, client, "s-1", 1)
	send(t, client, "s-2", 1)
	refused("s-3", `"s-*" has 2 already; max_streams`)
	if err := a.Reload(pattern(3)); err != nil {
		t.Fatal(err)
	}
	send(t, client, "s-3", 1)
	refused("s-4", `"s-*" has 3 already; max_streams`)
}

func TestReload_ChangesNothingIfAnAddressIsInUse(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, both)
	a := run(t, conf)
	until(t, "it runs", func() bool { return destination(t, a, "s", "two").State == admin.Running })
	taken := parse(t, dir, oneOnly+`
listener "socket" { address = "unix://DIR/LOCK/events.sock" }`)
	if err := a.Reload(taken); err == nil {
		t.Error("got no error")
	}
	if got := destination(t, a, "s", "two").State; got != admin.Running {
		t.Errorf("a destination is %q after a reload that failed, want running", got)
	}
	send(t, dial(t, conf), "s", 1)
}

func TestDestination_NotBuiltBlocksOnlyItself(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none"))
	conf := parse(t, dir, `
stream "s" {
  destination "kinesis" "live" {
    stream  = "x"
    profile = "nobody"
    batch { max_delay = "10ms" }
  }
  destination "file" "local" {
    path = "DIR/out"
    batch { max_delay = "10ms" }
  }
}`)
	a := run(t, conf)
	send(t, dial(t, conf), "s", 3)
	until(t, "the file has delivered and kinesis is blocked", func() bool {
		live := destination(t, a, "s", "live")
		return destination(t, a, "s", "local").Delivered.Events == 3 && live.State == admin.Blocked && strings.Contains(live.LastError, "nobody")
	})
}

func TestStop_LeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := t.TempDir()
	conf := parse(t, dir, both)
	a, err := agent.New(t.Context(), conf, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	until(t, "it listens", func() bool { _, err := os.Stat(dir + "/grpc.sock"); return err == nil })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	if again, err := agent.New(t.Context(), conf, hclog.NewNullLogger()); err != nil {
		t.Errorf("a second start: %v", err)
	} else if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// No snapshot is taken of what Close ends.
func TestStop_BesideTheSnapshots(t *testing.T) {
	a := start(t, parse(t, t.TempDir(), both), hclog.NewNullLogger())
	<-a.Running()
	var snapshots sync.WaitGroup
	stopped := make(chan struct{})
	snapshots.Go(func() {
		for {
			select {
			case <-stopped:
				return
			default:
				a.LookSoon()
				runtime.Gosched()
			}
		}
	})
	if err := a.stop(t); err != nil {
		t.Error(err)
	}
	close(stopped)
	snapshots.Wait()
}

func TestMemoryGoal_GrowsWithLimits(t *testing.T) {
	goal := func(streams string, connections int64) int64 {
		conf := parse(t, t.TempDir(), streams)
		conf.Listeners[0].MaxConnections = connections
		return agent.MemoryGoal(conf) >> 20
	}
	one := "{\n destination \"file\" \"f\" { path = \"DIR\" }\n}"
	for _, tt := range []struct{ got, want int64 }{
		{goal(`stream "s" `+one, 1024), 96},
		{goal(`stream "s" `+one, 1), 96},
		{goal("stream \"s\" {\n destination \"stdout\" \"c\" {}\n destination \"relay\" \"r\" { address = \"site:7710\" }\n}", 1), 94},
		{goal("stream \"s\" {\n destination \"s3\" \"c\" {\n bucket = \"events\"\n part_size = \"13MiB\"\n }\n}", 1), 105},
		{goal("stream \"s\" {\n destination \"s3\" \"c\" {\n bucket = \"events\"\n format = \"parquet\"\n row_group_size = \"10MiB\"\n }\n}", 1), 116},
		{goal(`stream "s-*" `+one, 1024), 96},
		{goal(`stream "s-*" `+strings.Replace(one, "{", "{\n max_streams = 2000", 1), 1024), 96 + 46},
		{goal(`stream "s" `+one, 1024+10<<10), 96 + 240},
	} {
		if tt.got != tt.want {
			t.Errorf("got %d MiB, want %d", tt.got, tt.want)
		}
	}
}

// A file has no fault exactly if the log can have its max_size.
func TestMaxSize_LeastIsThatOfTheLog(t *testing.T) {
	for size, valid := range map[int64]bool{wal.MinMaxSize: true, wal.MinMaxSize - 1: false} {
		_, err := config.Parse(fmt.Appendf(nil, "wal { max_size = \"%dB\" }", size), "agent.hcl")
		if (err == nil) != valid {
			t.Errorf("max_size of %d bytes: got %v, want valid: %v", size, err, valid)
		}
	}
}
