package mqttin

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/test/draw"
)

// Publishes are taken once and in order, by one goroutine at a time, which ends when there are none.
func TestBacklog_IsTakenInOrder(t *testing.T) {
	seed := draw.Seed(t)
	for round := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, round))
			var b backlog
			b.changed.L = &b.mu
			const n = 3 * depth
			taken, busy := 0, false
			respond := func(pace time.Duration) {
				for u := b.take(); u != nil; u = b.take() {
					if int(u.sum) != taken || busy {
						t.Errorf("seed %d, %d: got publish %d instead of %d, beside another one: %v", seed, round, u.sum, taken, busy)
					}
					busy = true
					taken++
					time.Sleep(pace)
					busy = false
				}
			}
			for i := range uint64(n) {
				if r.IntN(4) == 0 {
					time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
				}
				if b.add(&unacked{sum: i}) {
					go respond(time.Duration(r.IntN(50)) * time.Microsecond)
				}
			}
			b.awaitEnd()
			if taken != n || b.running || b.waiting != nil {
				t.Errorf("seed %d, %d: got %d of %d publishes", seed, round, taken, n)
			}
		})
	}
}
