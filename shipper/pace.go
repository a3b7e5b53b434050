package shipper

import (
	"math"
	"time"
)

// Quota is what a service takes in a second, of one shard or, where it has none, of all that a
// destination sends. A zero is a limit that is not known.
type Quota struct {
	Bytes    int // of records, with what counts of their keys
	Records  int
	Requests int // only where there are no shards
}

// unit is what a pace's share is a part of where the service names no quota: what a Kinesis shard
// takes. It only sets the scale.
var unit = Quota{Bytes: 1_000_000, Records: 1000}

const (
	// A bucket holds a second's worth. One that ran empty is used again once it holds a part of that, so
	// that small records share a request still: at the 5 MiB/s of a Firehose stream, requests of 3 MiB.
	bucketHolds   = 1.0
	bucketReopens = 0.6
	// leastShare is what throttling leaves: enough to notice that it is over.
	leastShare = 1.0 / 64
	// raiseSeconds is how long it takes to gain, step by step, the whole of the share that was too much.
	raiseSeconds = 20
	// forgetFactor: a pace that was only learned from throttling is let go at so many times of what
	// was too much then.
	forgetFactor = 4
	// After an outage a pace starts at this part of what it was and doubles each second.
	restartShare = 1.0 / 8
)

// load is an amount of what quotas count.
type load struct{ bytes, records, requests float64 }

func (l load) plus(o load, times float64) load {
	return load{l.bytes + times*o.bytes, l.records + times*o.records, l.requests + times*o.requests}
}

func (l load) times(f float64) load { return load{l.bytes * f, l.records * f, l.requests * f} }

// atMost returns l, no kind of it over that of o.
func (l load) atMost(o load) load {
	return load{min(l.bytes, o.bytes), min(l.records, o.records), min(l.requests, o.requests)}
}

// pace is the rate at which one shard is served: token buckets of its quota, or of a share of it while
// the service throttles. Where no quota is known, the first throttling tells what is too much.
// Its methods are called by Run's goroutine alone.
type pace struct {
	quota Quota
	known bool    // quota is the service's; else it is unit
	share float64 // of quota; 0: nothing is known to be too much
	step  float64 // gained each second without throttling
	most  float64 // share at most; a learned pace is let go there
	goal  float64 // share before the outage; below it the share doubles each second

	level   load // what may be sent now; below 0 after a record that was larger
	planned load // of the batch in the making
	filled  time.Time
	closed  bool // ran empty: to be filled to bucketReopens first
	lowered time.Time
	raised  time.Time
	recent  load // what was sent, fading within a second
}

func newPace(q Quota, now time.Time) *pace {
	p := &pace{quota: unit, filled: now, raised: now}
	if q != (Quota{}) {
		p.quota, p.known, p.share, p.most = q, true, 1, 1
		p.level = p.rate()
	}
	return p
}

// rate returns what may be sent in a second; a zero is no limit.
func (p *pace) rate() load {
	return load{float64(p.quota.Bytes), float64(p.quota.Records), float64(p.quota.Requests)}.times(p.share)
}

// fill brings the buckets up to now.
func (p *pace) fill(now time.Time) {
	if dt := now.Sub(p.filled).Seconds(); dt > 0 {
		p.filled = now
		p.recent = p.recent.times(math.Exp(-dt))
		rate := p.rate()
		p.level = p.level.plus(rate, dt).atMost(rate.times(bucketHolds))
	}
	p.closed = p.closed && p.opens().After(now)
}

// opens returns when a bucket that ran empty is used again.
func (p *pace) opens() time.Time {
	rate := p.rate()
	wait := 0.0
	for _, b := range [...]struct{ level, rate float64 }{
		{p.level.bytes, rate.bytes}, {p.level.records, rate.records}, {p.level.requests, rate.requests},
	} {
		if b.rate > 0 {
			wait = max(wait, (bucketReopens*b.rate-b.level)/b.rate)
		}
	}
	if wait == 0 {
		return p.filled
	}
	return p.filled.Add(time.Duration(wait*1e9) + 1) // rounded up: to be called a little early would spin
}

// allows tells whether so many bytes may join the batch in the making. What is larger than a bucket may,
// once there is as much as there has to be.
func (p *pace) allows(n int) bool {
	if p.share == 0 {
		return true
	}
	ok := !p.closed
	rate := p.rate()
	fresh := p.planned == (load{})
	left := p.level.plus(p.planned, -1)
	check := func(left, rate, need float64) {
		enough := left >= need || fresh && left >= bucketReopens*rate
		ok = ok && (rate == 0 || enough)
	}
	check(left.bytes, rate.bytes, float64(n))
	check(left.records, rate.records, 1)
	check(left.requests, rate.requests, 1)
	p.closed = !ok
	return ok
}

// spend takes what the batch in the making holds, which is sent now.
func (p *pace) spend() {
	p.planned.requests = 1
	if p.share > 0 {
		p.level = p.level.plus(p.planned, -1)
	}
	p.recent = p.recent.plus(p.planned, 1)
	p.planned = load{}
}

// throttled halves the share. A request that set out before the last time says nothing new.
func (p *pace) throttled(started, now time.Time) {
	if started.Before(p.lowered) {
		return
	}
	p.fill(now)
	if p.share == 0 {
		p.share = max(p.recent.bytes/float64(p.quota.Bytes), p.recent.records/float64(p.quota.Records), leastShare)
	}
	p.step = max(p.share, 1) / raiseSeconds
	if !p.known {
		p.most = forgetFactor * max(p.share, 1)
	}
	p.share = max(p.share/2, leastShare)
	p.goal, p.lowered, p.raised = 0, now, now
	p.level, p.closed = load{}, true
}

// taken: the service has taken records; the share grows, however many they were, with the time.
func (p *pace) taken(started, now time.Time) {
	if p.share == 0 || started.Before(p.lowered) {
		return
	}
	p.fill(now)
	dt := min(now.Sub(p.raised).Seconds(), 1)
	p.raised = now
	if p.share < p.goal {
		p.share = min(p.share*math.Exp2(dt), p.goal)
		return
	}
	p.share = min(p.share+p.step*dt, p.most)
	if !p.known && p.share == p.most {
		p.share = 0
	}
}

// restart begins slowly after an outage.
func (p *pace) restart(now time.Time) {
	if p.share == 0 {
		return
	}
	p.fill(now)
	p.goal = max(p.goal, p.share)
	p.share = max(p.goal*restartShare, leastShare)
	p.raised = now
	p.level = load{}
}

// slowed tells whether throttling has left its mark.
func (p *pace) slowed() bool { return p.share > 0 && (!p.known || p.goal == 0 && p.share < 1) }
