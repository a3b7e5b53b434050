//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/test/testkit"
)

// failing lets an agent's system calls fail from the next start on. strace counts the calls of each thread by
// itself: with 20+ every thread's twentieth fails, and all after it.
func (a *agent) failing(call, fault, when string) {
	a.t.Helper()
	a.under = []string{testkit.Tool(a.t, "strace"), "-f", "-o", a.path("strace.out"), "-e", "trace=" + call, "-e",
		fmt.Sprintf("inject=%s:error=%s:when=%s", call, fault, when)}
}

// appendUntilRefused sends ten events a request until one is refused.
func appendUntilRefused(t *testing.T, a *agent, sent []event) (acked int, refusal error) {
	t.Helper()
	client := a.dial()
	for acked+10 <= len(sent) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := client.Append(ctx, request("s", sent[acked:acked+10]...))
		cancel()
		if err != nil {
			return acked, err
		}
		acked += 10
	}
	return acked, nil
}

// expectFailure requires the agent to end because its log has failed: with exit code 1, and with a remedy in its output.
func (a *agent) expectFailure() {
	a.t.Helper()
	if code := a.exit(time.Minute); code != 1 {
		a.t.Errorf("got exit code %d, want 1", code)
	}
	for _, words := range []string{"the log has failed; stop the agent, check the disk and start it again", "standpipe: wal: the log has failed"} {
		if !strings.Contains(a.out.String(), words) {
			a.t.Errorf("got\n%s\nwant %q in it", tail(a.out.String(), 10), words)
		}
	}
}

// From some write or sync on the disk returns errors. The append that it belonged to fails, nothing is acked after
// it, /readyz is 503, the agent ends with exit code 1; and started again on the disk as it is, it delivers every acked
// event.
func TestDisk_FailedEndsTheAgent(t *testing.T) {
	endToEnd(t)
	for _, test := range []struct{ call, fault, when string }{
		{"fdatasync", "EIO", "20+"}, {"fdatasync", "ENOSPC", "20+"}, {"pwrite64", "EIO", "40+"},
	} {
		t.Run(test.call+"/"+test.fault, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, "", streamBlock("s", fileDestination))
			a.failing(test.call, test.fault, test.when)
			a.launch()
			testkit.Eventually(t, 20*time.Second, func() error { return a.expectCode("/readyz", http.StatusOK) })

			sent := readings(35, 5000)
			acked, err := appendUntilRefused(t, a, sent)
			if status.Code(err) != codes.Unavailable {
				t.Fatalf("got %v after %d events were acked, want UNAVAILABLE", err, acked)
			}
			testkit.Eventually(t, time.Minute, func() error {
				err := a.expectCode("/readyz", http.StatusServiceUnavailable)
				if ended := (*url.Error)(nil); errors.As(err, &ended) { // a second after the failure, which a busy machine may miss
					return nil
				}
				return err
			})
			a.expectFailure()
			expectStoredAfter(t, a, sent, acked)
		})
	}
}

// expectStoredAfter starts the agent on a disk that works and requires all acked events to be delivered.
func expectStoredAfter(t *testing.T, a *agent, sent []event, acked int) {
	t.Helper()
	a.under = nil
	a.start()
	stored := int(a.stream("s").Appended.Events)
	if stored != acked && stored != acked+10 { // the outcome of one append is unknown
		t.Errorf("got %d events stored, want %d or %d", stored, acked, acked+10)
	}
	a.waitDelivered("s", stored, 20*time.Second)
	a.stop()
	c := owing(sent[:acked])
	for _, e := range sent[acked:stored] {
		c.send(e, false)
	}
	c.expectWhole(t, "local", delivered(t, a.path("out"), "sensor", true), 0)
}

// A disk that is full when a commit's pages are written refuses appends, and the agent goes on.
func TestDisk_FullIsNoFailure(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := newAgent(t, "", streamBlock("s", fileDestination))
	a.failing("pwrite64", "ENOSPC", "40..43")
	a.launch()
	testkit.Eventually(t, 20*time.Second, func() error { return a.expectCode("/readyz", http.StatusOK) })
	client, sent, refused := a.dial(), readings(36, 3000), 0
	for at := 0; at < len(sent); at += 10 {
		testkit.Eventually(t, 20*time.Second, func() error {
			_, err := client.Append(t.Context(), request("s", sent[at:at+10]...))
			if err != nil {
				refused++
				expectError(t, err, codes.ResourceExhausted)
			}
			return err
		})
	}
	if refused == 0 {
		t.Error("nothing was refused; nothing was tested")
	}
	a.waitDelivered("s", len(sent), 20*time.Second)
	a.stopTraced()
	owing(sent).expectWhole(t, "local", delivered(t, a.path("out"), "sensor", true), 0)
}

// stopTraced is stop for an agent that runs under strace, which passes no signal on.
func (a *agent) stopTraced() {
	a.t.Helper()
	pid := a.cmd.Process.Pid
	var child int
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)); err != nil {
		a.t.Fatal(err)
	} else if _, err := fmt.Sscan(string(text), &child); err != nil {
		a.t.Fatalf("find the agent under strace: %v", err)
	}
	if err := syscall.Kill(child, syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	if code := a.exit(40 * time.Second); code != 0 {
		a.t.Errorf("got exit code %d after SIGTERM, want 0", code)
	}
}

// A log that fails while the agent drains ends it at once: no time that is left for draining can help.
func TestLog_FailsWhileTheAgentDrains(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "shutdown_timeout = \"10m\"\n", streamBlock("s", unreachable(t)))
	sent := readings(37, 50)
	send(t, a.dial(), "s", sent)
	a.signal(syscall.SIGTERM)
	testkit.Eventually(t, 10*time.Second, a.notReady)
	if a.ended() {
		t.Fatalf("ended with exit code %d, with events pending and time left", a.exit(0))
	}
	// A request that fails is counted, and so there is a checkpoint to write now and then.
	trace := a.path("strace.out")
	startProcess(t, exec.Command(testkit.Tool(t, "strace"), "-f", "-o", trace, "-p", fmt.Sprint(a.cmd.Process.Pid), "-e", "trace=fdatasync",
		"-e", "inject=fdatasync:error=EIO"))
	testkit.Eventually(t, 20*time.Second, func() error {
		calls, err := os.ReadFile(trace)
		if err == nil && !strings.Contains(string(calls), "(INJECTED)") {
			return errors.New("no sync has failed yet")
		}
		return err
	})
	a.expectFailure()
	a.start()
	if got := a.stream("s").destination("live").Pending.Events; got != 50 {
		t.Errorf("got %d events pending after the restart, want 50", got)
	}
}

// The next agent is started while the one before still drains, with the same file: it waits, takes over, and delivers
// the rest.
func TestRollingUpdate(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("s", 2)
	k.kill()
	a := startAgent(t, "shutdown_timeout = \"3s\"\n", streamBlock("s", kinesisDestination(k.endpoint())))
	sent := readings(38, 400)
	send(t, a.dial(), "s", sent[:200])
	before := a.process
	a.signal(syscall.SIGTERM)
	testkit.Eventually(t, 10*time.Second, a.notReady)
	a.start() // waits until it accepts events
	if code := before.exit(5 * time.Second); code != 0 {
		t.Errorf("got exit code %d of the agent before, want 0", code)
	}
	send(t, a.dial(), "s", sent[200:])
	k.start()
	a.waitDelivered("s", len(sent), 30*time.Second)
	a.stop()
	live, _ := k.read("s")
	owing(sent).expectWhole(t, "live", live, 0)
}
