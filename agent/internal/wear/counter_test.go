package wear_test

import (
	"math"
	"testing"

	"github.com/standpipe/standpipe/agent/internal/wear"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// The estimate of the bytes that a commit writes is within a fifth of the count of a log that has a few hundred blocks.
func TestCommitBytes_AreThoseOfTheLog(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{Dir: t.TempDir()})
	write := func(commits, events int) float64 {
		before := l.Stat().Written
		for range commits {
			b := &wal.Batch{Stream: "s"}
			for range events {
				b.Events = append(b.Events, wal.Event{Key: "key", Data: make([]byte, 200)})
			}
			if _, err := l.Append(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		return float64(l.Stat().Written-before) / float64(commits)
	}
	write(300, 20)
	for _, events := range []int{20, 1, 2, 5, 10} {
		got, want := wear.CommitBytes(float64(events), 200), write(130, events)
		if math.Abs(got-want) > want/5 {
			t.Errorf("%d events: got an estimate of %.0f bytes, the log has written %.0f", events, got, want)
		}
	}
}
