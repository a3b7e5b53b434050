package wal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// The time of the oldest pending event follows the checkpoint, however often Stat is called.
func TestStat_OldestPendingFollowsTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, wal.Options{Dir: t.TempDir()})
		defer l.Close()
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		var at []time.Time
		for range 5 {
			at = append(at, time.Now())
			appendOne(t, l, "s", "k", "x")
			time.Sleep(time.Second)
		}
		for i := range 5 {
			for range 3 {
				if got := p.Stat().OldestPending; !got.Equal(at[i]) {
					t.Errorf("got %v with %d settled, want %v", got, i, at[i])
				}
			}
			settleTo(t, p, uint64(i+2), wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 1}})
		}
		if got := p.Stat().OldestPending; !got.IsZero() {
			t.Errorf("got %v with nothing pending", got)
		}
	})
}
