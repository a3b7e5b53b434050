//go:build unix

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/test/testkit"
)

// unreachable is a Kinesis without a server.
func unreachable(t *testing.T) string { return kinesisDestination("http://" + testkit.FreeAddress(t)) }

func TestSignal_TermDrains(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("calm", fileDestination))
	sent := readings(21, 3000)
	send(t, a.dial(), "calm", sent)
	a.stop()
	owing(sent).expectWhole(t, "local", delivered(t, a.path("out"), "sensor", true), 0)
}

// A crash is not taken for a configuration with faults, after which service managers do not start an agent again: it has no
// exit code, and the transcript has the goroutines. SIGABRT, with which systemd's watchdog ends a process, does the same as a panic.
func TestSignal_AbortIsACrash(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("calm", fileDestination))
	a.signal(syscall.SIGABRT)
	a.exit(time.Minute)
	if state := a.cmd.ProcessState.Sys().(syscall.WaitStatus); state.Signal() != syscall.SIGABRT {
		t.Errorf("got exit code %d and signal %v, want an end by SIGABRT", state.ExitStatus(), state.Signal())
	}
	if !strings.Contains(a.out.String(), "goroutine ") {
		t.Errorf("got no goroutines:\n%s", tail(a.out.String(), 15))
	}
}

// A destination that is away cannot delay the end beyond shutdown_timeout; the agent logs the remaining events, and
// the next start delivers them.
func TestSignal_TermReportsTheRemainder(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("away", 1)
	k.kill()
	a := startAgent(t, "shutdown_timeout = \"1s\"\n", streamBlock("away", kinesisDestination(k.endpoint())))
	sent := readings(22, 137)
	send(t, a.dial(), "away", sent)
	begin := time.Now()
	a.stop()
	if took := time.Since(begin); took < 900*time.Millisecond || took > 3*time.Minute {
		t.Errorf("got an end after %s, want it after the 1s of shutdown_timeout", took)
	}
	if !regexp.MustCompile(`(?m)^.*remain.*\b137\b.*$|^.*\b137\b.*remain.*$`).MatchString(a.out.String()) {
		t.Errorf("got no line that says that 137 events remain:\n%s", tail(a.out.String(), 15))
	}
	k.start()
	a.start()
	a.waitDelivered("away", len(sent), 30*time.Second)
	a.stop()
	live, _ := k.read("away")
	owing(sent).expectWhole(t, "live", live, 0)
}

func TestSignal_SecondTermStopsAtOnce(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "shutdown_timeout = \"10m\"\n", streamBlock("away", unreachable(t)))
	sent := readings(23, 50)
	send(t, a.dial(), "away", sent)
	a.signal(syscall.SIGTERM)
	testkit.Eventually(t, 10*time.Second, a.notReady)
	if a.ended() {
		t.Fatalf("ended with exit code %d after one SIGTERM, with events pending and time left", a.exit(0))
	}
	a.signal(os.Interrupt)
	t.Logf("exit code %d after the second signal", a.exit(5*time.Second))
	a.start()
	if got := a.stream("away").destination("live").Pending.Events; got != 50 {
		t.Errorf("got %d events pending after the restart, want 50", got)
	}
}

// notReady requires /readyz to be 503, or to be gone.
func (a *agent) notReady() error {
	err := a.expectCode("/readyz", http.StatusServiceUnavailable)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return err
}

func TestReload_Applies(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	old := streamBlock("old", fileDestination)
	a := startAgent(t, "", old)
	client := a.dial()
	sent := readings(24, 100)
	_, err := client.Append(t.Context(), request("new", sent...))
	expectError(t, err, codes.NotFound, "new")

	a.configure(old + streamBlock("new", fileDestination))
	a.signal(syscall.SIGHUP)
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := client.Append(t.Context(), request("new", sent...))
		return err
	})
	send(t, client, "old", sent)
	a.waitDelivered("new", 100, 10*time.Second)
	a.waitDelivered("old", 100, 10*time.Second)
}

// A file that does not parse changes nothing: the fault is in the log with its place, and the
// streams go on as they were.
func TestReload_OfABadFileChangesNothing(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("old", fileDestination))
	client := a.dial()
	send(t, client, "old", readings(25, 10))
	a.configure(streamBlock("new", "\n  destination \"file\" \"local\" {\n    paht = \"x\"\n  }"))
	a.signal(syscall.SIGHUP)
	testkit.Eventually(t, 10*time.Second, func() error {
		if !regexp.MustCompile(`agent\.hcl:\d+:\d+: .*paht`).MatchString(a.out.String()) {
			return errors.New("the fault is not in the log")
		}
		return nil
	})
	send(t, client, "old", readings(26, 10))
	_, err := client.Append(t.Context(), request("new", event{"k", "{}"}))
	expectError(t, err, codes.NotFound)
	a.waitDelivered("old", 20, 10*time.Second)
}

// A destination that leaves the file is parked with its events, over a restart too, and gets no others. Once it is back,
// it delivers its events, and continues with new ones.
func TestDestination_RemovedIsParked(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("clicks", 2)
	k.kill()
	both := streamBlock("clicks", kinesisDestination(k.endpoint()), fileDestination)
	a := startAgent(t, "shutdown_timeout = \"1s\"\n", both)
	sent := readings(27, 600)
	send(t, a.dial(), "clicks", sent[:200])

	a.configure(streamBlock("clicks", fileDestination))
	a.signal(syscall.SIGHUP)
	testkit.Eventually(t, 10*time.Second, a.parked("live", 200))
	send(t, a.dial(), "clicks", sent[200:400])
	testkit.Eventually(t, 10*time.Second, a.parked("live", 200))
	a.stop()
	a.start()
	testkit.Eventually(t, 10*time.Second, a.parked("live", 200))

	k.start()
	a.configure(both)
	a.signal(syscall.SIGHUP)
	testkit.Eventually(t, 30*time.Second, func() error {
		if d := a.stream("clicks").destination("live"); d.State == "parked" || d.Delivered.Events != 200 || d.Dropped.Reasons["parked"] != 200 {
			return fmt.Errorf("got %+v, want its 200 events delivered", d)
		}
		return nil
	})
	send(t, a.dial(), "clicks", sent[400:])
	testkit.Eventually(t, 30*time.Second, func() error {
		live, local := a.stream("clicks").destination("live"), a.stream("clicks").destination("local")
		if live.Delivered.Events != 400 || local.Delivered.Events != 600 {
			return fmt.Errorf("delivered %d and %d, want 400 and 600", live.Delivered.Events, local.Delivered.Events)
		}
		return nil
	})
	a.stop()
	live, _ := k.read("clicks")
	owing(append(slices.Clone(sent[:200]), sent[400:]...)).expectWhole(t, "live", live, 0)
	owing(sent).expectWhole(t, "local", delivered(t, a.path("out"), "sensor", true), 0)
}

// parked requires a destination of clicks to be parked with so many events.
func (a *agent) parked(name string, pending uint64) func() error {
	return func() error {
		s := a.stream("clicks")
		if d := s.destination(name); d.State != "parked" || d.Pending.Events != pending {
			return fmt.Errorf("%s is %s with %d pending, want parked with %d", name, d.State, d.Pending.Events, pending)
		}
		return nil
	}
}

func TestLock_SecondAgentNamesTheHolder(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "wal { lock_timeout = \"500ms\" }\n", streamBlock("s", fileDestination))
	b := newAgent(t, "", "")
	b.head = strings.Replace(a.head, a.grpc, b.grpc, 1)
	b.head = strings.Replace(b.head, a.admin, b.admin, 1)
	for _, name := range []string{"grpc.sock", "events.sock"} {
		b.head = strings.Replace(b.head, a.path(name), b.path(name), 1)
	}
	b.configure(streamBlock("s", fileDestination))
	b.launch()
	if code := b.exit(20 * time.Second); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, word := range []string{fmt.Sprint(a.cmd.Process.Pid), "e2e", a.path("data")} {
		if !strings.Contains(b.out.String(), word) {
			t.Errorf("got %q, want it to name %s", tail(b.out.String(), 3), word)
		}
	}
	send(t, a.dial(), "s", readings(28, 10))
}

// A start that was killed leaves its unix sockets behind; the next one takes them.
func TestStart_OverLeftSockets(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	a.kill()
	a.start()
	s := a.dialSocket()
	s.expectStored(`{"stream":"s","key":"k","data":{"n":1}}`)
	a.stop()
	for _, name := range []string{"grpc.sock", "events.sock"} {
		if _, err := os.Stat(a.path(name)); err == nil {
			t.Errorf("%s is left after a clean stop", name)
		}
	}
}
