//go:build unix

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/test/testkit"
)

// smallLog is a log of 4 MiB; lines is a stream into a Kinesis that is away at first.
func smallLog(onFull string) string {
	return fmt.Sprintf("wal {\n  max_size = \"4MiB\"\n  segment_size = \"1MiB\"\n  on_full = %q\n}\n", onFull)
}

func startFull(t *testing.T, onFull string) (*agent, *kinesalite) {
	t.Helper()
	k := startKinesalite(t)
	k.create("full", 4)
	k.kill()
	return startAgent(t, smallLog(onFull), streamBlock("full", "\n  format = \"text\"", kinesisDestination(k.endpoint()))), k
}

// large is the i-th event of 50 KB, of seven keys.
func large(i int) event {
	return event{fmt.Sprintf("k%d", i%7), fmt.Sprintf("%d %s", i, filler(50_000))}
}

// A full log rejects appends, keeps acked events, and accepts events again when a destination catches up.
func TestFullLog_RejectsAndRecovers(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a, k := startFull(t, "reject")
	client := a.dial()
	var sent []event
	var refusal error
	for refusal == nil && len(sent) < 200 {
		e := large(len(sent))
		if _, refusal = client.Append(t.Context(), request("full", e)); refusal == nil {
			sent = append(sent, e)
		}
	}
	expectError(t, refusal, codes.ResourceExhausted)
	expectRetryInfo(t, refusal)
	t.Logf("refused after %d events of 50 KB: %v", len(sent), refusal)
	if err := a.expectCode("/readyz", 503); err != nil {
		t.Error(err)
	}
	a.expectWithinSize()

	k.start()
	last := event{"k0", "room again"}
	testkit.Eventually(t, 30*time.Second, func() error {
		_, err := client.Append(t.Context(), request("full", last))
		return err
	})
	testkit.Eventually(t, 10*time.Second, func() error { return a.expectCode("/readyz", 200) })
	a.waitDelivered("full", len(sent)+1, 30*time.Second)
	a.stop()
	live, _ := k.read("full")
	owing(append(sent, last)).expectWhole(t, "live", live, 0)
}

func expectRetryInfo(t *testing.T, err error) {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.RetryDelay.AsDuration() > 0 {
			return
		}
	}
	t.Errorf("got details %v, want RetryInfo with a delay", status.Convert(err).Details())
}

// expectWithinSize holds the log to max_size, by its own word and by the files' blocks.
func (a *agent) expectWithinSize() {
	a.t.Helper()
	s := a.status()
	if s.Wal.Bytes > s.Wal.MaxBytes {
		a.t.Errorf("got %d bytes in the status, want at most %d", s.Wal.Bytes, s.Wal.MaxBytes)
	}
	var blocks int64
	err := filepath.Walk(a.path("data"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			blocks += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil || blocks > s.Wal.MaxBytes+64<<10 {
		a.t.Errorf("got files of %d bytes (%v), want at most %d and the lock file", blocks, err, s.Wal.MaxBytes)
	}
}

// Under block, an append waits for room and is stored once there is some.
func TestFullLog_MakesProducersWait(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a, k := startFull(t, "block")
	client := a.dial()
	stored := make(chan int, 200)
	go func() {
		defer close(stored)
		for i := range 120 {
			if _, err := client.Append(t.Context(), request("full", large(i))); err != nil {
				t.Errorf("append %d: %v", i, err)
				return
			}
			stored <- i
		}
	}()
	testkit.Eventually(t, 20*time.Second, func() error { return a.expectCode("/readyz", 503) })
	waiting := len(stored)
	if waiting >= 120 {
		t.Fatalf("got %d events of 50 KB stored in a log of 4 MiB", waiting)
	}
	a.expectWithinSize()
	k.start()
	a.waitDelivered("full", 120, time.Minute)
	a.stop()
	var sent []event
	for i := range stored {
		sent = append(sent, large(i))
	}
	live, _ := k.read("full")
	t.Logf("%d stored before the log was full; %v", waiting, owing(sent).expectWhole(t, "live", live, 0))
}

// Under drop_oldest no append is rejected; dropped events are counted, and the rest arrives in order.
func TestFullLog_DropsTheOldest(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a, k := startFull(t, "drop_oldest")
	var sent []event
	client := a.dial()
	for i := range 200 {
		sent = append(sent, large(i))
		send(t, client, "full", sent[i:])
	}
	if err := a.expectCode("/readyz", 200); err != nil {
		t.Error(err)
	}
	a.expectWithinSize()
	k.start()
	testkit.Eventually(t, time.Minute, a.settled("full", 200))
	s := a.stream("full")
	d := s.destination("live")
	a.stop()
	live, _ := k.read("full")
	v := owing(sent).judge(live)
	t.Logf("dropped %d; %v", d.Dropped.Events, v)
	if d.Dropped.Events == 0 || d.Dropped.Reasons["full"] != d.Dropped.Events || v.missing != int(d.Dropped.Events) || v.disorder+v.foreign+v.duplicates > 0 {
		t.Errorf("got %v and %+v dropped, want exactly the dropped ones missing", v, d.Dropped)
	}
	if !slices.Contains(live, sent[199]) {
		t.Error("the newest event was dropped")
	}
}

// settled requires every event of a stream to be delivered, dead or dropped.
func (a *agent) settled(stream string, events uint64) func() error {
	return func() error {
		s := a.stream(stream)
		for _, d := range s.Destinations {
			if s.Appended.Events != events || d.Pending.Events != 0 {
				return fmt.Errorf("%s: %d of %d pending, %s: %s", d.Name, d.Pending.Events, s.Appended.Events, d.State, d.LastError)
			}
		}
		return nil
	}
}

// A byte of the log changed while the agent was down: the agent starts, lost events are counted as dropped,
// everything else arrives, and no offset is used twice.
func TestDamage_IsCounted(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("s", 2)
	k.kill()
	a := startAgent(t, "", streamBlock("s", kinesisDestination(k.endpoint())))
	sent := append(readings(51, 300), event{"gate/flow", `{"sensor":"gate/flow","n":"needle"}`})
	send(t, a.dial(), "s", sent)
	a.kill()
	damage(t, a, "needle")

	a.start()
	more := event{"hall/flow", `{"sensor":"hall/flow","n":"after"}`}
	got, err := a.dial().Append(t.Context(), request("s", more))
	if err != nil {
		t.Fatal(err)
	}
	if got.FirstOffset <= uint64(len(sent)) {
		t.Errorf("got offset %d, but those up to %d were given out", got.FirstOffset, len(sent))
	}
	k.start()
	testkit.Eventually(t, 30*time.Second, a.settled("s", a.stream("s").Appended.Events))
	s := a.stream("s")
	d := s.destination("live")
	a.stop()
	live, _ := k.read("s")
	v := owing(append(sent, more)).judge(live)
	t.Logf("offset %d after the damage; dropped %+v; %v", got.FirstOffset, d.Dropped, v)
	if d.Dropped.Reasons["corrupt"] == 0 || v.missing == 0 || v.missing > int(d.Dropped.Events) || v.disorder+v.foreign+v.duplicates > 0 {
		t.Errorf("got %v and %+v dropped, want what is missing to be counted as corrupt", v, d.Dropped)
	}
	if !slices.Contains(live, more) {
		t.Error("the event after the damage is missing")
	}
}
