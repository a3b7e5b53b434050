package pace

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// plant is a simulated service: shards with a rate each, and lanes that always have something to send, in rounds of a
// twentieth of a second. It simulates the paces alone, so that any rate costs the same.
type plant struct {
	paces  *Pacer
	shards int
	rate   float64 // bytes a second that all shards take
	share  float64 // the part of rate that other writers leave
	level  []float64
	now    time.Time
	taken  []float64 // bytes by second
	record int
	events [wal.Lanes]wal.Event // one of each lane
}

const round = 50 * time.Millisecond

func newPlant(shards int, rate float64, quota Quota, hidden bool) *plant {
	p := &plant{shards: shards, rate: rate, share: 1, level: make([]float64, shards), now: time.Unix(1e9, 0)}
	p.record = max(int(2*rate*round.Seconds())/wal.Lanes, 16)
	for i := range p.level {
		p.level[i] = rate / float64(shards)
	}
	found := 0
	for i := 0; found < wal.Lanes; i++ { // a key for each lane
		key := fmt.Sprint(i)
		if id := wal.LaneOf(key); p.events[id].Key == "" {
			p.events[id] = wal.Event{Key: key, Lane: id, Data: make([]byte, 0)}
			found++
		}
	}
	p.paces = NewPacer(quota, true, wal.Lanes, p.now)
	var m *ShardMap
	if !hidden {
		var all []Shard
		for i := range shards {
			all = append(all, Shard{ID: fmt.Sprint(i), First: HashKey{byte(256 * i / shards)}})
		}
		m = NewShardMap(all)
	}
	p.paces.Begin(p.now, m)
	return p
}

func (p *plant) shardOf(lane int) int {
	h := HashOf(p.events[lane].Key)
	return int(h[0]) * p.shards / 256
}

// run simulates that much time.
func (p *plant) run(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(round) {
		p.step()
	}
}

func (p *plant) step() {
	started := p.now
	var samples []Sample
	p.paces.Begin(p.now, p.paces.shards)
	first := int(p.now.UnixNano() / int64(round) * 7 % wal.Lanes)
	for i := range wal.Lanes {
		lane := (first + i) % wal.Lanes
		e := &p.events[lane]
		part, own := p.paces.Part(e.Key), p.paces.Lane(e.Lane)
		if !part.Allows(p.record) || !own.Allows(p.record) {
			continue
		}
		p.paces.Plan(part, p.record, 1)
		p.paces.Plan(own, p.record, 1)
		load := Load{Bytes: float64(p.record), Records: 1}
		samples = append(samples, Sample{Part: part, Lanes: 1 << e.Lane, Load: load, Result: p.serve(p.shardOf(lane))})
	}
	p.paces.Spend()
	for i := range p.level {
		most := p.rate / float64(p.shards) * p.share
		p.level[i] = min(p.level[i]+most*round.Seconds(), most)
	}
	p.paces.Learn(samples, started, p.now.Add(round/2))
}

func (p *plant) serve(shard int) Result {
	second := int(p.now.Unix() - 1e9)
	for len(p.taken) <= second {
		p.taken = append(p.taken, 0)
	}
	if p.level[shard] < float64(p.record) {
		return Throttled
	}
	p.level[shard] -= float64(p.record)
	p.taken[second] += float64(p.record)
	return Taken
}

// draws returns how many of n cases a test draws: a quarter, unless STANDPIPE_PACE_ALL is set.
func draws(n int) int {
	if os.Getenv("STANDPIPE_PACE_ALL") == "" {
		return n / 4
	}
	return n
}

// mean returns the mean bytes a second between two seconds.
func (p *plant) mean(from, to int) float64 {
	sum := 0.0
	for _, n := range p.taken[from:min(to, len(p.taken))] {
		sum += n
	}
	return sum / float64(to-from)
}

func (p *plant) second() int { return int(p.now.Unix() - 1e9) }

// For any rate, and for throttling of any length and strength, the pace is back at 0.9 of the earlier rate within 20 s
// of the last throttling, and stays there.
func TestPace_IsBackSoonAfterThrottling(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	worst, steady := 2.0, 2.0
	for range draws(60) {
		shards := 1 << random.IntN(7)
		rate := 1e5 * float64(int(1)<<random.IntN(10)) * (1 + random.Float64()) // 0.1 to 100 MB/s
		var quota Quota
		known, hidden := random.IntN(2) == 0, random.IntN(4) == 0
		if known {
			quota = Quota{Bytes: int(rate) / shards, Records: 1e6}
		}
		length, left := time.Duration(1+random.IntN(60))*time.Second, []float64{0, 0.02, 0.2, 0.6}[random.IntN(4)]
		name := fmt.Sprintf("%d shards of %.3f MB/s, known %v, hidden %v, throttled to %.2f for %v", shards, rate/float64(shards)/1e6, known, hidden, left, length)
		p := newPlant(shards, rate, quota, hidden)
		p.run(60 * time.Second)
		before := p.mean(20, 60)
		p.share = left
		p.run(length)
		p.share = 1
		over := p.second()
		p.run(80 * time.Second)
		soon := 0.0
		for s := over; s < over+20; s++ {
			soon = max(soon, p.mean(s, s+1))
		}
		worst, steady = min(worst, soon/before), min(steady, p.mean(over+20, over+80)/before)
		if soon < 0.9*before || p.mean(over+20, over+80) < 0.9*before {
			t.Errorf("%s: %.0f bytes/s before, at most %.0f within 20 s, %.0f from then on", name, before, soon, p.mean(over+20, over+80))
		}
		if before < 0.75*rate {
			t.Errorf("%s: %.0f bytes/s of %.0f are used", name, before, rate)
		}
	}
	t.Logf("of the rate before: at least %.2f within 20 s, %.2f in the minute after", worst, steady)
}

// When other writers use a part of a service's rate for long, the pace finds the rest and uses it without much
// throttling.
func TestPace_KeepsToWhatIsLeft(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	for range draws(30) {
		shards := 1 << random.IntN(7)
		rate := 1e5 * float64(int(1)<<random.IntN(10)) * (1 + random.Float64())
		var quota Quota
		known := random.IntN(2) == 0
		if known {
			quota = Quota{Bytes: int(rate) / shards, Records: 1e6}
		}
		p := newPlant(shards, rate, quota, false)
		p.share = 0.1 + 0.8*random.Float64()
		p.run(150 * time.Second)
		if got, want := p.mean(30, 150), p.share*rate; got < 0.6*want {
			t.Errorf("%d shards of %.3f MB/s, known %v: %.0f bytes/s of the %.0f that others leave", shards, rate/float64(shards)/1e6, known, got, want)
		}
	}
}

// One lane is throttled for ever, at any rate: the lanes that share its shard keep their pace.
func TestPace_OneLaneSlowsAlone(t *testing.T) {
	for _, known := range []bool{false, true} {
		for _, shards := range []int{1, 4, 16} {
			var quota Quota
			if known {
				quota = Quota{Bytes: 1e7 / shards, Records: 1e6}
			}
			p := newPlant(shards, 1e7, quota, false)
			stuck := 5
			for range 400 {
				p.paces.Begin(p.now, p.paces.shards)
				var samples []Sample
				for lane := range wal.Lanes {
					e := &p.events[lane]
					load := Load{Bytes: float64(p.record), Records: 1}
					samples = append(samples, Sample{Part: p.paces.Part(e.Key), Lanes: 1 << e.Lane, Load: load, Result: Taken})
				}
				samples[stuck].Result = Throttled
				p.paces.Learn(samples, p.now, p.now.Add(round/2))
				p.now = p.now.Add(round)
			}
			slow := slices.IndexFunc(p.paces.parts, func(p *Pace) bool { return p.slow })
			lanes := 0
			for _, l := range p.paces.lanes {
				if l != nil && l.slow {
					lanes++
				}
			}
			if slow >= 0 || lanes != 1 || !p.paces.lanes[stuck].slow {
				t.Errorf("known %v, %d shards: part %d is slow, %d lanes are, want lane %d alone", known, shards, slow, lanes, stuck)
			}
		}
	}
}

// Each rejection of a later request halves the pace, whether its quota is known or not, down to a 64th of the pace before
// all throttling. A request that started before the last rejection halves nothing.
func TestPace_ThrottlingHalvesIt(t *testing.T) {
	for name, quota := range map[string]Quota{"known": {Bytes: 1e6, Records: 1000}, "unknown": {}} {
		now := time.Unix(1e9, 0)
		p := newPace(quota, now)
		load := Load{Bytes: 1e6, Records: 100}
		p.took(load, now, now)
		was := p.factorOf(load)
		if p.Limited() != (quota != Quota{}) {
			t.Errorf("%s: limited %v before all throttling", name, p.Limited())
		}
		for i := range 10 {
			now = now.Add(time.Millisecond)
			p.throttled(load, 0, now, now)
			want := max(was/float64(int(2)<<i), was*minFactor)
			if got := p.factor; got < 0.95*want || got > 1.1*want {
				t.Errorf("%s: factor %v after %d rejections, want %v", name, got, i+1, want)
			}
			if !p.slow || p.Allows(1) {
				t.Errorf("%s: after a rejection more is sent at once", name)
			}
			before := p.factor
			p.throttled(load, 0, now.Add(-time.Millisecond/2), now)
			if p.factor != before {
				t.Errorf("%s: an earlier request changes the factor from %v to %v", name, before, p.factor)
			}
		}
	}
}
