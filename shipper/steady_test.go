package shipper_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sourcetest"
)

// wholeKinesis returns Kinesis's real shape.
func wholeKinesis() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingKPL, OneKey: true, KeyCounts: true, MaxRecord: 1 << 20, AimRecord: 500 << 10,
		BatchRecords: 500, MaxBatch: 5 << 20, AimBatch: 5 << 20, BilledStep: 1 << 10, UnitStep: 25 << 10}
}

// shardedMeter is a meter with shards.
type shardedMeter struct {
	*meter
	shards *shipper.ShardMap
}

func (s shardedMeter) Shards() *shipper.ShardMap { return s.shards }

// Steady events of many keys wait for max_delay, no longer, and then share the records of their keys or shards.
func TestSteady_MaxDelayIsUsed(t *testing.T) {
	const seconds = 20
	for _, tt := range []struct {
		traffic
		byShard  bool
		maxDelay time.Duration
		records  float64 // for each second, at most
		requests float64
	}{
		{traffic{perSecond: 4000, size: 1024, keys: 1000}, false, time.Second, 1500, 6},
		{traffic{perSecond: 4000, size: 1024, keys: 1000}, false, 250 * time.Millisecond, 4000, 12},
		{traffic{perSecond: 4000, size: 1024, keys: 1000}, true, time.Second, 14, 6},
		{traffic{perSecond: 4000, size: 1024, keys: 1000}, true, 250 * time.Millisecond, 32, 10},
		{traffic{perSecond: 2000, size: 200, keys: 300}, false, time.Second, 450, 3},
		{traffic{perSecond: 4000, size: 1024, keys: 1000, hot: true}, false, time.Second, 1500, 12},
		{traffic{perSecond: 4000, size: 1024, keys: 1}, false, time.Second, 12, 12},
	} {
		t.Run(fmt.Sprintf("%v/by_shard=%v/max_delay=%v", tt.traffic, tt.byShard, tt.maxDelay), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var longest time.Duration
				m := &meter{shape: wholeKinesis(), delay: 20 * time.Millisecond}
				m.taken = func(r shipper.Record) { // each tick has as many events
					ticks := time.Duration((int(r.First) - 1) / (tt.perSecond / 40))
					longest = max(longest, time.Since(began)-(ticks+1)*25*time.Millisecond)
				}
				m.shape.ByShard = tt.byShard
				log := sourcetest.New()
				place := log.Cursor("s", "d")
				ship := shipper.New(shipper.Options{Source: log, Cursor: place, MaxDelay: tt.maxDelay,
					Sink: shardedMeter{m, shardsAt(0, 0, 64, 128, 192)}})
				done := make(chan error, 1)
				go func() { done <- ship.Run(context.Background()) }()
				tt.arrive(t, log, seconds*time.Second)
				time.Sleep(2 * tt.maxDelay)
				synctest.Wait()
				st := place.Stat()
				ship.Finish()
				if err := <-done; err != nil || st.Pending.Events > 0 {
					t.Fatalf("got %v, %d events pending", err, st.Pending.Events)
				}
				records, requests := float64(st.Records)/seconds, float64(st.Requests)/seconds
				t.Logf("a second: %.0f records, %.1f requests; longest delay %v", records, requests, longest)
				if records > tt.records || requests > tt.requests {
					t.Errorf("got %.0f records in %.1f requests a second, want at most %v in %v", records, requests, tt.records, tt.requests)
				}
				if most := tt.maxDelay + 75*time.Millisecond; longest > most {
					t.Errorf("an event took %v, want at most %v", longest, most)
				}
			})
		})
	}
}
