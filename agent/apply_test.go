package agent_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/wal"
)

// running is an agent that a test stops by itself.
type running struct {
	*agent.Agent
	cancel context.CancelFunc
	ended  chan error
}

// start runs an agent until the test ends, or stops it.
func start(t *testing.T, conf *config.Config, logger hclog.Logger) *running {
	t.Helper()
	a, err := agent.New(t.Context(), conf, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{a, cancel, make(chan error, 1)}
	go func() { r.ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		a.Abort()
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	})
	return r
}

// stop stops the agent, waits for its end and returns Run's error.
func (r *running) stop(t *testing.T) error {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		r.ended <- nil
		return err
	case <-time.After(time.Minute):
		t.Fatal("the agent has not ended within a minute")
		return nil
	}
}

// reloaded reloads and fails the test when that takes longer than any destination's request would have to.
func reloaded(t *testing.T, a *agent.Agent, conf *config.Config) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- a.Reload(conf) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the reload has not ended within a minute")
	}
}

// firehose is a destination whose requests may take ten minutes.
func firehose(srv *fakeaws.Server, stream string) string {
	return fmt.Sprintf(`
  destination "firehose" "b" {
    delivery_stream = %q
    endpoint        = %q
    batch { max_delay = "10ms" }
    retry {
      max     = "100ms"
      timeout = "10m"
    }
  }`, stream, srv.URL())
}

const fileA = `
  destination "file" "a" {
    path = "DIR/a"
    batch { max_delay = "10ms" }
  }`

// await appends one event with ack = delivered; the channel that it returns receives the level that was reached.
func await(t *testing.T, client standpipev1.IngestClient) <-chan standpipev1.Ack {
	t.Helper()
	reached := make(chan standpipev1.Ack, 1)
	go func() {
		r, err := client.Append(t.Context(), &standpipev1.AppendRequest{
			Stream: "s", Ack: standpipev1.Ack_ACK_DELIVERED, Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}},
		})
		if err == nil {
			reached <- r.Ack
		}
		close(reached)
	}()
	return reached
}

// A destination that a reload changes has not left: an event counts as delivered once it is there too. The request
// that hung under the settings before is given up.
func TestReload_DeliveredWaitsForADestinationThatChanges(t *testing.T) {
	awsEnvironment(t)
	srv := fakeaws.Start(t)
	dir := t.TempDir()
	conf := func(stream string) *config.Config {
		text := "stream \"s\" {" + fileA + firehose(srv, stream) + "\n}"
		for i := range 30 { // that change as well
			text += fmt.Sprintf("\nstream \"z%d\" {\n destination \"file\" \"a\" { path = \"DIR/%s\" }\n}", i, stream)
		}
		return parse(t, dir, text)
	}
	first := conf("x")
	a := run(t, first)
	client := dial(t, first)
	srv.FailNext(fakeaws.Silent())
	requests := srv.Requests()
	reached := await(t, client)
	until(t, "the request is under way, and the file has the event", func() bool {
		return srv.Requests() > requests && destination(t, a, "s", "a").Delivered.Events == 1
	})
	reloaded(t, a, conf("y"))
	select {
	case got := <-reached:
		arrived := slices.ContainsFunc(srv.Records(), func(r fakeaws.Record) bool { return r.Stream == "y" })
		if got != standpipev1.Ack_ACK_DELIVERED || !arrived {
			t.Errorf("got %v; the event has arrived: %v", got, arrived)
		}
	case <-time.After(time.Minute):
		t.Error("no answer within a minute")
	}
	if d := destination(t, a, "s", "b"); d.State != admin.Running || d.Delivered.Events != 1 {
		t.Errorf("got %s with %d delivered", d.State, d.Delivered.Events)
	}
}

// The provision block is for another command: a change of it restarts no destination.
func TestReload_OfAProvisionBlockChangesNothing(t *testing.T) {
	dir := t.TempDir()
	with := func(block string) *config.Config {
		return parse(t, dir, `
stream "s" {
  destination "kinesis" "k" {
    stream   = "s"
    region   = "eu-west-1"
    endpoint = "http://127.0.0.1:1"
    `+block+`
  }
}`)
	}
	a := run(t, with(""))
	for block, started := range map[string]int{"provision { archive = true }": 0, "order = \"strict\"": 1} {
		if err := a.Reload(with(block)); err != nil {
			t.Fatal(err)
		}
		if got := a.Status().Reload.Changes; len(got.Started) != started || len(got.NeedRestart) > 0 {
			t.Errorf("%s: got %+v", block, got)
		}
		if err := a.Reload(with("")); err != nil {
			t.Fatal(err)
		}
	}
}

// Once a reload has removed a destination, no response waits for it any longer, also when its request hangs, and it gets
// no more events.
func TestReload_RemovedDestinationIsParked(t *testing.T) {
	awsEnvironment(t)
	srv := fakeaws.Start(t)
	dir := t.TempDir()
	settings := "stream \"s\" {\n max_size = \"64KiB\"\n on_full = \"drop_oldest\"\n format = \"text\"\n"
	conf := parse(t, dir, settings+fileA+firehose(srv, "x")+"\n}")
	a := run(t, conf)
	client := dial(t, conf)
	srv.FailNext(fakeaws.Silent())
	reached := await(t, client)
	until(t, "the file has the event", func() bool { return destination(t, a, "s", "a").Delivered.Events == 1 })
	reloaded(t, a, parse(t, dir, settings+fileA+"\n}"))
	select {
	case got := <-reached:
		if got != standpipev1.Ack_ACK_DELIVERED {
			t.Errorf("got %v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("no answer within a minute")
	}
	sendSlowly(t, a, client, "a", 40)
	if d := destination(t, a, "s", "b"); d.State != admin.Parked || d.Dropped.Reasons["parked"] != 40 || d.Pending.Events != 1 {
		t.Errorf("got %s with %+v dropped and %d pending", d.State, d.Dropped, d.Pending.Events)
	}
	if err := a.Status().Check(); err != nil {
		t.Error(err)
	}
}

// A reload that fails at its last step undoes all its earlier steps.
func TestReload_RefusedUndoesAll(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, "stream \"s\" {"+fileA+"\n}")
	a := run(t, conf)
	client := dial(t, conf)
	refused := parse(t, dir, `
listener "http" { address = "unix://DIR/http.sock" }
identity "i" { token_file = "DIR/nosuch" }
stream "s" {
  max_size = "64KiB"`+fileA+`
  destination "file" "b" { path = "DIR/b" }
}
stream "t" {
  destination "file" "b" { path = "DIR/b" }
}`)
	for range 3 {
		if err := a.Reload(refused); err == nil || !strings.Contains(err.Error(), "nosuch") {
			t.Fatalf("got %v, want the token file's error", err)
		}
	}
	l, err := net.Listen("unix", filepath.Join(dir, "http.sock"))
	if err != nil {
		t.Errorf("the new listener's address: %v", err)
	} else {
		l.Close()
	}
	select {
	case <-await(t, client):
	case <-time.After(time.Minute):
		t.Error("an append with ack = delivered waits for a destination that was never configured")
	}
	for _, s := range a.Status().Streams {
		if s.MaxBytes != 0 {
			t.Errorf("stream %s: max_size is %d", s.Name, s.MaxBytes)
		}
		for _, d := range s.Destinations {
			if d.Name == "b" && d.State != admin.Parked {
				t.Errorf("%s of %s is %s", d.Name, s.Name, d.State)
			}
		}
	}
	if got := codeOf(t, client, "t", "k", "1"); got != codes.NotFound {
		t.Errorf("a stream of the file that was refused: got %v", got)
	}
}

// max_age, max_size and on_full are those of the file that was read last, and a stream that has left it keeps all its
// events, however many.
// The limits of the log take effect at once. A log that is over its new limit keeps its events, and accepts none until enough
// are delivered; a limit that its streams exceed is an error, and changes nothing.
func TestReload_ChangesTheLimitsOfTheLog(t *testing.T) {
	dir := t.TempDir()
	text := func(wal, endpoint string) string {
		return fmt.Sprintf(`
wal {
%s
}
stream "s" {
  format = "text"
  destination "firehose" "f" {
    delivery_stream = "x"
    region          = "eu-west-1"
    endpoint        = %q
    retry {
      initial = "10ms"
      max     = "10ms"
    }
  }
}`, wal, endpoint)
	}
	const nobody = "http://127.0.0.1:1"
	conf := parse(t, dir, text(`max_size = "64MiB"`, nobody))
	a := run(t, conf)
	client := dial(t, conf)
	for range 4 {
		appendTo(t, client, "s", "k", strings.Repeat("x", 800<<10))
	}
	if err := a.Reload(parse(t, dir, text(`max_size = "2MiB"`, nobody))); err != nil {
		t.Fatal(err)
	}
	if st := a.Status(); st.WAL.MaxBytes != 2<<20 || st.WAL.Bytes < 3<<20 {
		t.Errorf("got %+v, want 2 MiB with more in use", st.WAL)
	}
	if code := appendOf(t, client, 1); code != codes.ResourceExhausted {
		t.Errorf("got %v, want the log to be full", code)
	}
	if d := destination(t, a, "s", "f"); d.Pending.Events != 4 || d.Dropped.Events != 0 {
		t.Errorf("got %+v, want four events", d)
	}
	small := parse(t, dir, text(`max_size = "1MiB"`, nobody))
	small.WAL.MaxSize = wal.MinMaxSize - 1
	if err := a.Reload(small); err == nil || a.Status().WAL.MaxBytes != 2<<20 {
		t.Errorf("got %v and %+v, want an error and no change", err, a.Status().WAL)
	}
	if err := a.Reload(parse(t, dir, text(`max_size = "64MiB"`, nobody))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, client, "s", "k", "with a larger log")
	if err := a.Reload(parse(t, dir, text("max_size = \"64MiB\"\n segment_size = \"1MiB\"\n lock_timeout = \"5s\"\n", nobody))); err != nil {
		t.Fatal(err)
	}
	if got, want := a.Status().Reload.Changes.NeedRestart, []string{"wal.segment_size", "wal.lock_timeout"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReload_ChangesPolicies(t *testing.T) {
	awsEnvironment(t)
	t.Setenv("AWS_PROFILE", "nosuch")
	dir := t.TempDir()
	conf := func(settings string) *config.Config {
		return parse(t, dir, "stream \"s\" {\n format = \"text\"\n"+settings+"\n destination \"kinesis\" \"k\" { stream = \"s\" }\n}")
	}
	first := conf("")
	a := run(t, first)
	client := dial(t, first)
	for range 20 {
		appendOf(t, client, 8<<10)
	}
	held := func() (held, most int64) {
		for _, s := range a.Status().Streams {
			held, most = s.HeldBytes, s.MaxBytes
		}
		return held, most
	}
	reloaded(t, a, conf("max_size = \"128KiB\"\n on_full = \"reject\""))
	if got := appendOf(t, client, 8<<10); got != codes.ResourceExhausted {
		t.Errorf("beyond max_size with on_full = reject: got %v", got)
	}
	if _, got := held(); got != 128<<10 {
		t.Errorf("got max_size %d", got)
	}
	reloaded(t, a, conf("max_size = \"128KiB\"\n on_full = \"drop_oldest\""))
	if got := appendOf(t, client, 8<<10); got != codes.OK {
		t.Errorf("beyond max_size with on_full = drop_oldest: got %v", got)
	}
	if got := destination(t, a, "s", "k"); got.Dropped.Reasons["full"] == 0 {
		t.Errorf("got %+v dropped", got.Dropped)
	}
	before, _ := held()
	if before <= 64<<10 {
		t.Fatalf("%d bytes are held", before)
	}
	reloaded(t, a, parse(t, dir, "stream \"t\" {\n destination \"file\" \"f\" { path = \"DIR/t\" }\n}"))
	send(t, client, "t", 1)
	for _, s := range a.Status().Streams {
		if s.Name == "s" && (s.HeldBytes != before || s.MaxBytes != 0) {
			t.Errorf("a stream that has left the file holds %d of at most %d bytes, want %d and no limit", s.HeldBytes, s.MaxBytes, before)
		}
	}
	reloaded(t, a, conf("max_age = \"10ms\""))
	until(t, "what is too old is dropped", func() bool {
		d := destination(t, a, "s", "k")
		return d.Dropped.Reasons["age"] > 0 && d.Pending.Events == 0
	})
}

// A destination that does not respond for ten seconds does not use up shutdown_timeout. Its sibling gets all events.
func TestStop_LeavesADestinationThatIsAway(t *testing.T) {
	awsEnvironment(t)
	dir := t.TempDir()
	conf := parse(t, dir, `
stream "s" {
  destination "kinesis" "k" {
    stream   = "s"
    endpoint = "http://127.0.0.1:1"
    batch { max_delay = "10ms" }
  }`+fileA+"\n}")
	conf.ShutdownTimeout = 10 * time.Minute
	a := start(t, conf, hclog.NewNullLogger())
	send(t, dial(t, conf), "s", 3)
	until(t, "it waits", func() bool { return destination(t, a.Agent, "s", "k").State == admin.Waiting })
	if err := a.stop(t); err != nil {
		t.Error(err)
	}
	if got := lines(t, dir+"/a"); got != 3 {
		t.Errorf("got %d lines in the file, want 3", got)
	}
}

// A destination that is blocked, or that hangs, does not use up shutdown_timeout.
func TestStop_WaitsForNobodyWithoutHope(t *testing.T) {
	for name, settings := range map[string]string{
		"not built": `profile = "nosuch"`,
		"refused":   "",
	} {
		t.Run(name, func(t *testing.T) {
			awsEnvironment(t)
			srv := fakeaws.Start(t)
			for range 100 {
				srv.FailNext(fakeaws.Refuse(400, "AccessDeniedException", "not you"))
			}
			dir := t.TempDir()
			conf := parse(t, dir, fmt.Sprintf(`
stream "s" {
  destination "kinesis" "k" {
    stream   = "s"
    endpoint = %q
    batch { max_delay = "10ms" }
    %s
  }`+fileA+"\n}", srv.URL(), settings))
			conf.ShutdownTimeout = 10 * time.Minute
			a := start(t, conf, hclog.NewNullLogger())
			client := dial(t, conf)
			send(t, client, "s", 3)
			until(t, "it is blocked", func() bool { return destination(t, a.Agent, "s", "k").State == admin.Blocked })
			if err := a.stop(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// A stop that comes while a reload waits for requests that hang takes effect at once, and leaves a log in which
// everything adds up.
func TestStop_DuringAReload(t *testing.T) {
	awsEnvironment(t)
	srv := fakeaws.Start(t)
	dir := t.TempDir()
	conf := func(stream string) *config.Config {
		return parse(t, dir, "stream \"s\" {"+fileA+firehose(srv, stream)+"\n}")
	}
	for range 20 {
		srv.FailNext(fakeaws.Silent())
	}
	first := conf("x")
	a := start(t, first, hclog.NewNullLogger())
	send(t, dial(t, first), "s", 3)
	until(t, "a request hangs", func() bool { return srv.Requests() > 0 })
	reloads := make(chan error, 1)
	go func() { reloads <- a.Reload(conf("y")) }()
	if err := a.stop(t); err != nil {
		t.Error(err)
	}
	<-reloads
	again := start(t, conf("y"), hclog.NewNullLogger())
	until(t, "the file has all", func() bool { return destination(t, again.Agent, "s", "a").Delivered.Events == 3 })
	if err := again.Status().Check(); err != nil {
		t.Error(err)
	}
}

// A listener that a reload removes takes nothing any more, and its socket is gone.
func TestReload_RemovesAListener(t *testing.T) {
	dir := t.TempDir()
	more := `
listener "grpc" { address = "unix://DIR/other.sock" }
`
	conf := parse(t, dir, both+more)
	a := run(t, conf)
	send(t, dial(t, conf), "s", 1)
	path := filepath.Join(dir, "other.sock")
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := a.Reload(parse(t, dir, both)); err != nil {
		t.Fatal(err)
	}
	until(t, "the listener is gone", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	send(t, dial(t, conf), "s", 1)
}
