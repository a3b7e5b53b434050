package shipper_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// shardsAt returns a map of shards that begin at multiples of a 256th of the hash keys. Each generation has its own
// shard names.
func shardsAt(generation int, starts ...int) *shipper.ShardMap {
	var list []shipper.Shard
	for _, at := range starts {
		list = append(list, shipper.Shard{ID: fmt.Sprintf("%d-%d", generation, at), First: shipper.HashKey{byte(at)}})
	}
	return shipper.NewShardMap(list)
}

func TestManySmallKeysShareTheRecordsOfTheirShards(t *testing.T) {
	records := make(map[bool]uint64)
	for _, byShard := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			svc := newService(t, byShardShape())
			svc.shape.ByShard = byShard
			svc.real = shardsAt(0, 0, 64, 128, 192)
			svc.known = svc.real
			r := newRig(t, svc)
			for i := range 3000 {
				r.src.send(fmt.Sprint("k", i%1000), 1)
			}
			st := r.finish()
			if records[byShard] = st.Records; svc.again != 0 {
				t.Errorf("%d events arrived twice", svc.again)
			}
		})
	}
	if records[true]*10 > records[false] {
		t.Errorf("got %d records by shard, %d by key", records[true], records[false])
	}
}

func TestWithoutAMapOfShardsRecordsHoldOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, byShardShape())
		svc.kept = nil
		r := newRig(t, svc)
		for i := range 400 {
			r.src.send(fmt.Sprint("k", i%50), 1)
		}
		if st := r.finish(); st.Records < 50 {
			t.Errorf("got %d records for 50 keys", st.Records)
		}
	})
}

// After one reshard, of any kind, a record that landed in a shard where one of its keys does not belong is sent again
// whole, once. No other record is.
func TestReshard_SendsStrayRecordsAgainOnce(t *testing.T) {
	for name, to := range map[string][]int{"split": {0, 64, 128}, "merge": {0}, "all moves": {0, 50, 100, 150, 200}, "renamed": {0, 128}} {
		synctest.Test(t, func(t *testing.T) {
			svc := newService(t, byShardShape())
			svc.real = shardsAt(0, 0, 128)
			svc.known = svc.real
			before := svc.real
			svc.reshard = func() {
				if svc.total > 500 && svc.real == before {
					svc.real = shardsAt(1, to...)
				}
			}
			strays, again := make(map[string]bool), 0
			svc.landing = func(r shipper.Record, keys map[string][]string) {
				for _, payloads := range keys {
					for _, p := range payloads {
						if svc.discarded(r, keys) {
							strays[p] = true
						}
					}
				}
			}
			r := newRig(t, svc)
			for i := range 1500 {
				r.src.send(fmt.Sprint("k", i%300), 1)
				if i%300 == 0 {
					time.Sleep(2 * time.Second)
				}
			}
			r.finish()
			for p, n := range svc.wrote {
				want := 1
				if strays[p] {
					want, again = 2, again+1
				}
				if n != want {
					t.Errorf("%s: %q was stored %d times, want %d", name, p, n, want)
				}
			}
			if keysMove := name == "split" || name == "all moves"; keysMove != (again > 0) {
				t.Errorf("%s: %d events strayed", name, again)
			}
		})
	}
}

// TestAReshardedStreamLosesNothing splits and merges shards at any moment. A record that a consumer discards, because
// one of its keys lies outside the shard of the record, is sent again; other records are not.
func TestAReshardedStreamLosesNothing(t *testing.T) {
	generation := 0
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			svc := newService(t, byShardShape())
			random := rand.New(rand.NewPCG(seed, 3))
			svc.real = shardsAt(generation, 0, 128)
			svc.known = svc.real
			svc.rand = rand.New(rand.NewPCG(seed, 4))
			svc.reshard = func() {
				if svc.rand.IntN(6) > 0 {
					return
				}
				generation++
				starts := []int{0}
				for at := 1 + svc.rand.IntN(100); at < 256; at += 1 + svc.rand.IntN(100) {
					starts = append(starts, at)
				}
				svc.real = shardsAt(generation, starts...)
			}
			r := newRig(t, svc)
			for i := range 1000 {
				r.src.send(fmt.Sprint("k", random.IntN(400)), 1+random.IntN(3))
				if i%100 == 0 {
					time.Sleep(time.Second)
				}
			}
			r.finish()
			if svc.again != 0 {
				t.Errorf("seed %d: %d events came twice to a consumer", seed, svc.again)
			}
		})
	}
	if generation < 10 {
		t.Errorf("the stream was resharded %d times", generation)
	}
}

func TestAClosedShardHoldsTheKeysOfItsRange(t *testing.T) {
	first, last := shipper.HashOf("a"), shipper.HashOf("b") // 0c… and 92…
	m := shipper.NewShardMap([]shipper.Shard{{ID: "open"}}, shipper.Shard{ID: "closed", First: first, Last: last})
	for _, tt := range []struct {
		id, key string
		want    bool
	}{
		{"open", "a", true}, {"closed", "a", true}, {"closed", "b", true}, {"closed", "c", true}, // 4a…
		{"closed", "f", true}, {"closed", "e", false}, {"another", "a", false}, // 8f…, e1…
	} {
		if got := m.Holds(tt.id, tt.key); got != tt.want {
			t.Errorf("shard %q holds key %q: got %v, want %v", tt.id, tt.key, got, tt.want)
		}
	}
}
