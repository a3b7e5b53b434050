package wal_test

import (
	"math/rand/v2"
	"slices"
	goSync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// openSlow opens a log whose commits take that long.
func openSlow(t *testing.T, commit time.Duration) *wal.Log {
	t.Helper()
	l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(func() error {
		time.Sleep(commit)
		return nil
	}, nil))
	time.Sleep(time.Second)
	return l
}

// timedAppend appends an event, and returns the time until the response.
func timedAppend(t *testing.T, l *wal.Log) time.Duration {
	start := time.Now()
	if _, err := l.Append(t.Context(), awaited("x")); err != nil {
		t.Error(err)
	}
	return time.Since(start)
}

// Callers that append in a loop wait for one commit of a slow disk, not for two.
func TestCallers_ShareTheCommitsOfASlowDisk(t *testing.T) {
	for _, commit := range []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := openSlow(t, commit)
			const callers, rounds = 8, 30
			waits := make([][]time.Duration, callers)
			var group goSync.WaitGroup
			for i := range callers {
				group.Go(func() {
					for range rounds {
						waits[i] = append(waits[i], timedAppend(t, l))
						time.Sleep(min(time.Duration(i)*commit/40, 9*time.Millisecond)) // the way back
					}
				})
			}
			start := time.Now()
			group.Wait()
			took := time.Since(start)
			all := slices.Sorted(slices.Values(slices.Concat(waits...)))
			if median := all[len(all)/2]; median > commit*13/10 {
				t.Errorf("commits of %v: the median caller waits for %v", commit, median)
			}
			if took > rounds*commit*13/10+2*commit {
				t.Errorf("commits of %v: %d rounds took %v", commit, rounds, took)
			}
		})
	}
}

// A lone caller waits for its own commit only, also one that was in a group before. Those that leave delay one commit by a
// small part of its time.
func TestCallers_LoneOneDoesNotWaitForOthers(t *testing.T) {
	for _, commit := range []time.Duration{time.Millisecond, 20 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := openSlow(t, commit)
			for range 5 {
				if took := timedAppend(t, l); took != commit {
					t.Errorf("commits of %v: a lone append took %v", commit, took)
				}
			}
			var group goSync.WaitGroup
			for range 8 {
				group.Go(func() { timedAppend(t, l) })
			}
			group.Wait()
			most := commit + min(commit/4, 10*time.Millisecond)
			if commit < 2*time.Millisecond {
				most = commit
			}
			if took := timedAppend(t, l); took > most {
				t.Errorf("commits of %v: the first of the group took %v, want at most %v", commit, took, most)
			}
			for range 5 {
				if took := timedAppend(t, l); took != commit {
					t.Errorf("commits of %v: a lone append after the group took %v", commit, took)
				}
			}
		})
	}
}

// Producers that append whenever they have something wait for hardly more than the rest of a commit and their own.
func TestCallers_OthersDoNotWaitForThoseThatDoNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const commit, producers, rounds = 20 * time.Millisecond, 40, 50
		l := openSlow(t, commit)
		var group goSync.WaitGroup
		waited := make([]time.Duration, producers)
		for i := range producers {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			group.Go(func() {
				for range rounds {
					time.Sleep(time.Duration(r.ExpFloat64() * float64(20*commit)))
					waited[i] += timedAppend(t, l)
				}
			})
		}
		group.Wait()
		sum := time.Duration(0)
		for _, w := range waited {
			sum += w
		}
		if mean := sum / (producers * rounds); mean > commit*31/20 {
			t.Errorf("an append waited for %v at the mean, want at most 1.55 commits of %v", mean, commit)
		} else {
			t.Logf("an append waited for %.2f commits at the mean", mean.Seconds()/commit.Seconds())
		}
	})
}

// A log that closes does not wait for callers.
func TestCallers_CloseEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const commit = 40 * time.Millisecond
		l := openSlow(t, commit)
		var group goSync.WaitGroup
		for range 3 {
			group.Go(func() { timedAppend(t, l) })
		}
		group.Wait()
		group.Go(func() {
			if took := timedAppend(t, l); took != commit {
				t.Errorf("the append took %v, want %v", took, commit)
			}
		})
		synctest.Wait()
		must(t, l.Close())
		group.Wait()
	})
}
