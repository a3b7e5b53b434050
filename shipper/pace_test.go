package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// shards is a model of a service whose shards each accept a quota a second and throttle the rest. It is down between
// two instants, and counts the load that it gets.
type shards struct {
	*service
	quota  shipper.Quota // of each shard
	shares []float64     // the part of each shard's quota that other producers leave; nil: all of it
	mapped *shipper.ShardMap
	hidden bool // the shipper doesn't get the map

	level, records []float64
	filled         time.Time
	began          time.Time
	down, up       time.Duration // times since began
	seconds        []second
	most           []float64 // the largest excess of the tried bytes over quota times elapsed time, by shard
	tried          []float64
}

// second counts the events of one second.
type second struct {
	requests, records, bytes, throttled int
}

func newShards(t *testing.T, n int, q shipper.Quota) *shards {
	s := &shards{service: newService(t, kinesisShape()), quota: q, mapped: evenShards(n, "s"), began: time.Now(), filled: time.Now()}
	s.shape.Quota = q
	s.setShards(s.mapped)
	s.faults = s.serve
	return s
}

// setShards replaces the shards of the service. The new ones are full of tokens.
func (s *shards) setShards(m *shipper.ShardMap) {
	n := m.Len()
	s.mapped = m
	s.level, s.records, s.tried, s.most = make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		s.level[i], s.records[i] = float64(s.quota.Bytes), float64(s.quota.Records)
	}
}

func evenShards(n int, name string) *shipper.ShardMap {
	var all []shipper.Shard
	for i := range n {
		all = append(all, shipper.Shard{ID: fmt.Sprint(name, "-", i), First: shipper.HashKey{byte(256 * i / n)}})
	}
	return shipper.NewShardMap(all)
}

func (s *shards) Shards() *shipper.ShardMap {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden {
		return nil
	}
	return s.mapped
}

// leave sets the part of each shard's quota that other producers leave.
func (s *shards) leave(shares []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = shares
}

// arrived returns the number of stored events of a key.
func (s *shards) arrived(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

func (s *shards) share(i int) float64 {
	if s.shares == nil {
		return 1
	}
	return s.shares[i]
}

// serve returns the faults of a request: it throttles by shard.
func (s *shards) serve(_ *rand.Rand, batch []shipper.Record) (f fault) {
	s.fill()
	at := time.Since(s.began)
	now := s.now()
	now.requests++
	if at >= s.down && at < s.up {
		f.err = &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}
		return f
	}
	f.failed = make(map[int]*shipper.Error)
	for i, r := range batch {
		shard, size := s.mapped.Find(r.Key), float64(len(r.Data)+len(r.Key))
		s.tried[shard] += size
		s.most[shard] = max(s.most[shard], s.tried[shard])
		if s.level[shard] < size || s.records[shard] < 1 {
			now.throttled++
			f.failed[i] = &shipper.Error{Class: shipper.Throttled, Code: "ProvisionedThroughputExceededException", Record: -1}
			continue
		}
		s.level[shard] -= size
		s.records[shard]--
		now.records++
		now.bytes += int(size)
	}
	return f
}

func (s *shards) fill() {
	dt := time.Since(s.filled).Seconds()
	s.filled = time.Now()
	for i := range s.level {
		rate, records := float64(s.quota.Bytes), float64(s.quota.Records)
		s.level[i] = min(s.level[i]+dt*rate*s.share(i), rate*s.share(i))
		s.records[i] = min(s.records[i]+dt*records*s.share(i), records*s.share(i))
		s.tried[i] = max(s.tried[i]-dt*rate, 0)
	}
}

func (s *shards) now() *second {
	for int(time.Since(s.began).Seconds()) >= len(s.seconds) {
		s.seconds = append(s.seconds, second{})
	}
	return &s.seconds[len(s.seconds)-1]
}

// between sums up the seconds from from until before until.
func (s *shards) between(from, until int) (sum second) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.seconds[min(from, len(s.seconds)):min(until, len(s.seconds))] {
		sum.requests += x.requests
		sum.records += x.records
		sum.bytes += x.bytes
		sum.throttled += x.throttled
	}
	return sum
}

// table formats spans of seconds; each number is per second.
func (s *shards) table(name string, spans ...[2]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %10s %10s %10s %10s\n", name, "requests/s", "records/s", "KB/s", "throttled/s")
	for _, span := range spans {
		sum, n := s.between(span[0], span[1]), float64(span[1]-span[0])
		fmt.Fprintf(&b, "  second %4d to %4d     %10.1f %10.1f %10.1f %10.1f\n", span[0], span[1],
			float64(sum.requests)/n, float64(sum.records)/n, float64(sum.bytes)/n/1000, float64(sum.throttled)/n)
	}
	return b.String()
}

// shardRig returns a rig that ships to a service with shards.
func shardRig(t *testing.T, s *shards, o shipper.Options) *rig {
	r := &rig{t: t, svc: s.service, sink: s, opts: o}
	r.inMemory()
	r.start()
	return r
}

// produce appends events for the given number of seconds: each events a second, of the given size and number of keys.
func (r *rig) produce(seconds, each, bytes, keys int) {
	for range 2 * seconds {
		r.src.sendLong(each/2, bytes, keys)
		time.Sleep(time.Second / 2)
	}
}

// shardQuota is small, so that a simulation is cheap.
var shardQuota = shipper.Quota{Bytes: 20_000, Records: 50}

// Events arrive for a minute at six tenths of the quota of four shards. During half of that minute there is an outage;
// then the backlog is shipped. With the pace, no shard gets more than its quota and a bucket, and the requests are as
// large as in a steady flow. Without the pace, the backlog is throttled.
func TestABacklogDoesNotFloodAfterAnOutage(t *testing.T) {
	for _, unpaced := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			svc := newShards(t, 4, shardQuota)
			svc.down, svc.up = 20*time.Second, 50*time.Second
			r := shardRig(t, svc, shipper.Options{Unpaced: unpaced, Retry: shipper.Retry{Max: 2 * time.Second}})
			r.produce(60, 150, 300, 40)
			time.Sleep(40 * time.Second)
			synctest.Wait()
			name := "paced"
			if unpaced {
				name = "not paced"
			}
			t.Log("\n" + svc.table(name, [2]int{0, 20}, [2]int{20, 50},
				[2]int{50, 52}, [2]int{52, 54}, [2]int{54, 60}, [2]int{60, 80}, [2]int{80, 100}))
			r.finish()
			after, all := svc.between(50, 100), svc.between(0, 100)
			if unpaced {
				if after.throttled < 100 {
					t.Errorf("only %d records are throttled without the pace: the simulation shows nothing", after.throttled)
				}
				return
			}
			for i, most := range svc.most {
				if limit := float64(shardQuota.Bytes); most > limit*1.01 {
					t.Errorf("shard %d was asked for %.0f bytes more than its quota, want at most a bucket of %.0f", i, most, limit)
				}
			}
			if all.throttled*100 > all.records {
				t.Errorf("%d of %d records were throttled, want at most a hundredth", all.throttled, all.records)
			}
		})
	}
}

// Other producers leave a tenth of one shard's quota. The pace of that shard slows down to it, the others don't, and it
// recovers afterwards.
func TestAThrottledShardSlowsOnlyItself(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			svc := newShards(t, 4, shardQuota)
			svc.shares, svc.hidden = []float64{0.1, 1, 1, 1}, hidden
			r := shardRig(t, svc, shipper.Options{})
			r.produce(60, 150, 300, 40)
			time.Sleep(time.Second)
			synctest.Wait()
			t.Log("\n" + svc.table(fmt.Sprintf("map hidden: %v", hidden), [2]int{0, 10}, [2]int{10, 30}, [2]int{30, 60}))
			for k := range 40 {
				key := fmt.Sprint("k", k)
				if got, want := svc.arrived(key), r.src.sent(key); svc.mapped.Find(key) != 0 && got < want-10 {
					t.Errorf("key %s of another shard: %d of %d events arrived", key, got, want)
				}
			}
			if late := svc.between(20, 60); !hidden && late.throttled*20 > late.records {
				t.Errorf("%d records were throttled and %d taken: the pace did not follow", late.throttled, late.records)
			}
			if full, got := 4*shardQuota.Bytes, r.ship.Report().Pace; !hidden && got > 0.85*float64(full) {
				t.Errorf("the pace is %.0f bytes/s with a shard of a tenth, want at most 0.85 of %d", got, full)
			}
			svc.leave(nil)
			begin := time.Now()
			r.finish()
			if took := time.Since(begin); took > 2*time.Minute {
				t.Errorf("the slowed shard took %v to catch up", took)
			}
		})
	}
}

// After a split the new shards have their own quota, and a shard that stayed keeps its pace.
func TestPacesFollowAReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newShards(t, 1, shardQuota)
		r := shardRig(t, svc, shipper.Options{})
		r.produce(10, 150, 300, 40) // 48 KB/s for a quota of 20 KB/s
		synctest.Wait()
		svc.mu.Lock()
		svc.setShards(evenShards(4, "t"))
		svc.mu.Unlock()
		r.produce(20, 150, 300, 40)
		r.finish()
		t.Log("\n" + svc.table("split at 10", [2]int{2, 10}, [2]int{11, 18}, [2]int{18, 30}))
		before, after := svc.between(2, 10), svc.between(11, 18)
		if got, most := before.bytes/8, shardQuota.Bytes*11/10; got > most {
			t.Errorf("%d bytes/s before the split, want at most %d", got, most)
		}
		if got, least := after.bytes/7, 2*shardQuota.Bytes; got < least {
			t.Errorf("%d bytes/s after the split, want at least %d", got, least)
		}
	})
}

// Small records that wait for their pace still share requests.
func TestPacedRecordsShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newShards(t, 1, shardQuota)
		r := shardRig(t, svc, shipper.Options{})
		r.src.sendLong(3000, 30, 3000) // one event a record, 50 records a second
		time.Sleep(40 * time.Second)
		synctest.Wait()
		t.Log("\n" + svc.table("small records", [2]int{0, 5}, [2]int{5, 40}))
		sum := svc.between(5, 40)
		if sum.records < 35*45 || sum.records > 35*51 {
			t.Errorf("%d records in 35 s, want 50 a second", sum.records)
		}
		if sum.requests*8 > sum.records {
			t.Errorf("%d requests for %d records, want 10 or so in each", sum.requests, sum.records)
		}
		r.finish()
	})
}

// A destination without shards, such as a Firehose stream, has one quota for all its requests.
func TestADestinationWithoutShardsKeepsToItsQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, firehoseShape())
		svc.shape.Quota = shipper.Quota{Bytes: 20_000, Records: 1000, Requests: 100}
		r := newRig(t, svc)
		r.src.sendLong(2000, 300, 100) // 600 KB, for 30 s
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := svc.total * 300; got < 18*20_000 || got > 21*20_000+1000 {
			t.Errorf("%d bytes in 20 s, want 20,000 a second and a bucket", got)
		}
		if want := 20 * 3; svc.requests > want {
			t.Errorf("%d requests in 20 s, want at most %d", svc.requests, want)
		}
		if got := r.ship.Report(); got.Waits != shipper.WaitPaced || got.Pace != 20_000 || got.Shards != 0 {
			t.Errorf("got %+v, want paced at 20,000 bytes/s", got)
		}
		if r.ship.Stalled(0) {
			t.Error("what keeps to a quota is taken for stalled")
		}
		r.finish()
	})
}

// A quota of requests alone is enforced too.
func TestAQuotaOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, firehoseShape())
		svc.shape.Quota = shipper.Quota{Requests: 2}
		r := newRig(t, svc)
		r.src.sendLong(2000, 300, 100)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if svc.requests < 18 || svc.requests > 22 {
			t.Errorf("%d requests in 10 s, want 2 a second", svc.requests)
		}
		r.finish()
	})
}

// packed is a destination for compressed records. It counts the events and bytes that it gets.
type packed struct {
	*service
	events, bytes int
}

func (p *packed) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range batch {
		p.events += r.Events
		p.bytes += len(r.Data)
	}
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "200"}
}

// A quota counts bytes after compression.
func TestAQuotaCountsCompressedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &packed{service: newService(t, firehoseShape())}
		svc.shape.Quota, svc.shape.Compression = shipper.Quota{Bytes: 20_000}, shipper.Gzip
		r := &rig{t: t, svc: svc.service, sink: svc}
		r.inMemory()
		r.start()
		r.src.sendLong(2000, 300, 100) // 600 KB uncompressed, enough for 30 s
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if svc.events != 2000 || svc.bytes > 10*20_000 {
			t.Errorf("%d events in %d bytes arrived in 10 s, want all 2000", svc.events, svc.bytes)
		}
		svc.total = svc.events // finish compares it
		r.finish()
	})
}
