//go:build unix

package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/test/testkit"
)

// Events that a blocked destination has held for longer than max_age are dropped, counted and logged; younger ones
// arrive.
func TestPolicy_TooOldEventsAreDropped(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("s", 2)
	k.kill()
	a := startAgent(t, "wal {\n  max_age = \"3s\"\n}\n",
		streamBlock("s", kinesisDestination(k.endpoint()))+streamBlock("kept", "\n  max_age = \"0s\"", unreachable(t)))
	client := a.dial()
	old := readings(61, 200)
	send(t, client, "s", old)
	send(t, client, "kept", old)
	testkit.Eventually(t, 20*time.Second, func() error {
		if d := a.stream("s").destination("live"); d.Dropped.Reasons["age"] != 200 || d.Pending.Events != 0 {
			return fmt.Errorf("got %+v dropped, %d pending", d.Dropped, d.Pending.Events)
		}
		return nil
	})
	testkit.Eventually(t, 15*time.Second, func() error {
		// A line may have the events dropped so far, and the next comes a minute later.
		line := regexp.MustCompile(`events were dropped: reason=age stream=s destination=live events=(\d+) bytes=\d+`).FindStringSubmatch(a.out.String())
		if line == nil {
			return fmt.Errorf("the log does not say it")
		}
		if n, _ := strconv.Atoi(line[1]); n < 1 || n > 200 {
			return fmt.Errorf("got %q, want 1 to 200 events", line[0])
		}
		return nil
	})
	if d := a.stream("kept").destination("live"); d.Pending.Events != 200 || d.Dropped.Events != 0 {
		t.Errorf("kept: got %d pending, %+v dropped", d.Pending.Events, d.Dropped)
	}

	k.start()
	young := readings(62, 50)
	send(t, client, "s", young)
	testkit.Eventually(t, 30*time.Second, a.settled("s", 250))
	d := a.stream("s").destination("live")
	a.kill()
	live, _ := k.read("s")
	if d.Delivered.Events+d.Dropped.Events != 250 || uint64(len(live)) < d.Delivered.Events {
		t.Errorf("got %+v delivered, %+v dropped, %d events there", d.Delivered, d.Dropped, len(live))
	}
	for _, e := range live {
		if slices.Contains(old, e) && !slices.Contains(young, e) {
			t.Fatalf("an event that was dropped has arrived: %q", e.data)
		}
	}
}

// A stream with a max_size of its own is full alone: it refuses, others go on, and the agent is ready.
func TestPolicy_FullStreamIsFullAlone(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("bounded", 2)
	k.kill()
	a := startAgent(t, "", streamBlock("bounded", "\n  format = \"text\"\n  max_size = \"1MiB\"\n  on_full = \"reject\"", kinesisDestination(k.endpoint()))+
		streamBlock("other", fileDestination))
	client := a.dial()
	var sent []event
	var refusal error
	for refusal == nil && len(sent) < 200 {
		e := large(len(sent))
		if _, refusal = client.Append(t.Context(), request("bounded", e)); refusal == nil {
			sent = append(sent, e)
		}
	}
	expectError(t, refusal, codes.ResourceExhausted, "bounded")
	expectRetryInfo(t, refusal)
	t.Logf("refused after %d events of 50 KB: %v", len(sent), refusal)
	if len(sent) != 20 {
		t.Errorf("got %d events of 50 KB in 1 MiB, want 20", len(sent))
	}
	if err := a.expectCode("/readyz", 200); err != nil {
		t.Error(err)
	}
	if s := a.stream("bounded"); s.HeldBytes < 1_000_000 || s.HeldBytes > s.MaxBytes || s.MaxBytes != 1<<20 || s.Refused.Events != 1 {
		t.Errorf("got %d bytes held of %d, %d events refused", s.HeldBytes, s.MaxBytes, s.Refused.Events)
	}
	if metrics := a.get("/metrics"); !strings.Contains(metrics, `standpipe_stream_max_bytes{stream="bounded"} 1.048576e+06`) {
		t.Error("the metrics do not tell the stream's share")
	}
	send(t, client, "other", readings(63, 500))
	a.waitDelivered("other", 500, 20*time.Second)

	k.start()
	last := event{"k0", "room again"}
	testkit.Eventually(t, 30*time.Second, func() error {
		_, err := client.Append(t.Context(), request("bounded", last))
		return err
	})
	a.waitDelivered("bounded", len(sent)+1, 30*time.Second)
	a.stop()
	live, _ := k.read("bounded")
	owing(append(sent, last)).expectWhole(t, "live", live, 0)
}
