package main_test

import (
	"context"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// From some sync on the disk says EIO. The append that it belonged to fails, nothing is acked after
// it, /readyz says 503, the agent ends with exit code 1 within five seconds; and started again on
// the disk as it is, it delivers everything that was acked.
func TestFailedSyncEndsTheAgent(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is missing: `make standins` installs it")
	}
	a := newAgent(t, "", streamBlock("s", fileDestination))
	// strace counts the calls of each thread by itself: every thread's twentieth fdatasync fails, and
	// all after it.
	a.under = []string{strace, "-f", "-o", a.path("strace.out"), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=20+"}
	a.launch()
	eventually(t, 20*time.Second, func() error { return a.expectCode("/readyz", http.StatusOK) })

	client, sent, acked := a.dial(), readings(35, 5000), 0
	for ; acked < len(sent); acked += 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = client.Append(ctx, request("s", sent[acked:acked+10]...))
		cancel()
		if err != nil {
			break
		}
	}
	if status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v after %d events were acked, want UNAVAILABLE", err, acked)
	}
	failed := time.Now()
	eventually(t, 3*time.Second, func() error { return a.expectCode("/readyz", http.StatusServiceUnavailable) })
	if code := a.exit(10 * time.Second); code != 1 || time.Since(failed) > 5*time.Second {
		t.Errorf("got exit code %d after %s, want 1 within 5 s", code, time.Since(failed))
	}

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
