//go:build unix

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// hanging returns a Firehose destination whose endpoint accepts requests and never responds.
func hanging(t *testing.T, stream string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
	}()
	return fmt.Sprintf(`
  destination "firehose" "live" {
    delivery_stream = %q
    region          = "us-east-1"
    endpoint        = "http://%s"
    batch { max_delay = "10ms" }
    retry { timeout = "10m" }
  }`, stream, l.Addr())
}

// The agent obeys a stop signal while a reload waits for a destination.
func TestSignals_StopEndsAReloadThatWaits(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	destination := hanging(t, "x")
	a := startAgent(t, "shutdown_timeout = \"1s\"\n", streamBlock("s", destination, fileDestination))
	send(t, a.dial(), "s", readings(71, 20))
	testkit.Eventually(t, 10*time.Second, func() error {
		if got := a.stream("s").destination("local").Delivered.Events; got != 20 {
			return fmt.Errorf("got %d events in the file", got)
		}
		return nil
	})
	a.configure(streamBlock("s", strings.Replace(destination, `"x"`, `"y"`, 1), fileDestination))
	a.signal(syscall.SIGHUP)
	time.Sleep(50 * time.Millisecond) // usually the reload is under way; the expectations are the same if it is not
	a.signal(syscall.SIGTERM)
	if code := a.exit(15 * time.Second); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	a.start()
	if d := a.stream("s").destination("live"); d.Pending.Events != 20 {
		t.Errorf("got %d events pending after the restart, want 20", d.Pending.Events)
	}
	a.kill()
}

// SIGHUP is no second SIGTERM: a stop goes on for as long as it may.
func TestSignals_HangupDoesNotCutAStop(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "shutdown_timeout = \"10m\"\n", streamBlock("away", unreachable(t)))
	send(t, a.dial(), "away", readings(72, 20))
	a.signal(syscall.SIGTERM)
	testkit.Eventually(t, 10*time.Second, a.notReady)
	for range 5 {
		a.signal(syscall.SIGHUP)
		time.Sleep(100 * time.Millisecond)
	}
	if a.ended() {
		t.Fatalf("ended with exit code %d after SIGTERM and SIGHUP, with events pending and time left", a.exit(0))
	}
	a.signal(syscall.SIGTERM)
	a.exit(10 * time.Second)
}

// However many reloads are requested at once, the last content of the file is in force, and a stop after them is
// obeyed.
func TestSignals_ManyHangups(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	client := a.dial()
	for n := range 40 {
		a.configure(streamBlock(fmt.Sprint("s", n), fileDestination))
		a.signal(syscall.SIGHUP)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := client.Append(t.Context(), request("s39", event{"k", "{}"}))
		return err
	})
	if _, err := client.Append(t.Context(), request("s", event{"k", "{}"})); err == nil {
		t.Error("a stream that is gone takes events")
	}
	a.stop()
}

// An agent that waits for another agent's lock exits with 0 at a stop signal. An agent that gets a reload signal while it
// waits reloads once it runs.
func TestSignals_WhileWaitingForTheLock(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	holder := startAgent(t, "", streamBlock("s", fileDestination))
	waiter := func() *agent {
		b := newAgent(t, "wal { lock_timeout = \"10m\" }\n", "")
		b.head = strings.Replace(b.head, b.path("data"), holder.path("data"), 1)
		b.configure(streamBlock("s", fileDestination))
		b.launch()
		testkit.Eventually(t, 10*time.Second, func() error {
			if !strings.Contains(b.out.String(), "lock") {
				return errors.New("it does not say that it waits for the lock")
			}
			return nil
		})
		return b
	}
	stopped := waiter()
	stopped.stop()

	reloaded := waiter()
	reloaded.configure(streamBlock("new", fileDestination))
	reloaded.signal(syscall.SIGHUP)
	holder.stop()
	testkit.Eventually(t, 20*time.Second, func() error { return reloaded.expectCode("/readyz", 200) })
	client := reloaded.dial()
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := client.Append(t.Context(), request("new", event{"k", "{}"}))
		return err
	})
	reloaded.stop()
}

// The command reload prints the changes, or exits with 1 and the faults; then nothing has changed. The status has the
// result.
func TestReload_CommandWithResult(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	send(t, a.dial(), "s", readings(73, 5))
	a.waitDelivered("s", 5, 30*time.Second)

	a.configure("stream {")
	code, out, errs := runProgram(t, "", "reload", "--address", a.admin)
	if code != 1 || out != "" || !strings.Contains(errs, "agent.hcl:") {
		t.Errorf("got exit code %d, %q and %q, want 1 and the fault's place", code, out, errs)
	}
	if text := a.get("/metrics"); !strings.Contains(text, "standpipe_config_last_reload_success 0") {
		t.Error("the metric does not show the failed reload")
	}
	a.configure(strings.Replace(streamBlock("s", fileDestination), `"local"`, `"renamed"`, 1))
	code, out, errs = runProgram(t, "", "reload", "--address", a.admin)
	want := "reloaded: 1 stream, 3 listeners\nstarted: s/renamed\nparked, and keeps its events: s/local (0 events)\n"
	if code != 0 || out != want || errs != "" {
		t.Errorf("got exit code %d, %q and %q, want %q", code, out, errs, want)
	}
	if text := a.get("/metrics"); !strings.Contains(text, "standpipe_config_last_reload_success 1") {
		t.Error("the metric does not show the reload")
	}
	a.stop()
}
