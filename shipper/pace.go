package shipper

import (
	"cmp"
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
	// leastShare is the least part of the share before throttling that throttling leaves: enough to notice its end.
	leastShare = 1.0 / 64
	// After the last throttling a pace is back at the share that met it after kneeSeconds, in a curve that flattens
	// there, since the service may take that and no more. After peakSeconds it is back at the share before
	// all throttling, by equal factors in equal times, however far down it went.
	kneeSeconds = 5.0
	peakSeconds = 16.0
	// A pace without a quota then doubles in probeSeconds, and is let go at forgetFactor of that share.
	probeSeconds = 1.5
	forgetFactor = 4
	// highSeconds is how long the highest rate that was reached is remembered while nothing is throttled.
	highSeconds = 60.0
	// After an outage a pace starts at this part of what it was and doubles each second.
	restartShare = 1.0 / 8
	// mostPaced bounds the time after which a lane looks again whether its pace has room: paces grow.
	mostPaced = time.Second
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

// pace is the rate at which one part of a destination is served: token buckets of its quota, or of a share of
// it while the service throttles. Where no quota is known, the first throttling shows the limit.
// Its methods are called by Run's goroutine alone.
type pace struct {
	quota Quota   // share is a fraction of it
	rest  float64 // the share while nothing is throttled; 0: no limit
	top   float64 // the share that recovery leads back to; 0: the one that was reached
	share float64 // now; 0: no limit

	slow    bool      // throttling was met, and the share before it is not back
	peak    float64   // the share before all of it
	knee    float64   // the share that met the last of it
	low     float64   // the share that it left
	lowered time.Time // when it was met last
	probed  time.Time // when the share before was back, and there was more to send
	taken   time.Time // when the service last took something that set out after lowered

	restarted time.Time // the end of an outage, until the share is whole again

	level   load // what may be sent now; below 0 after a record that was larger
	planned load // of the batch in the making
	filled  time.Time
	closed  bool // ran empty: to be filled to bucketReopens first

	recent   load    // load that the service took, fading within a second
	high     float64 // the highest share of late that the service took
	measured time.Time

	tally tally // of the lanes that share it
}

// newPace returns the pace of a part with a quota of its own; the zero one is not known.
func newPace(q Quota, now time.Time) *pace {
	p := &pace{quota: unit, filled: now, measured: now}
	if q != (Quota{}) {
		p.quota, p.rest, p.top, p.share = q, 1, 1, 1
		p.level = p.rate()
	}
	return p
}

// newLanePace returns the pace of a lane, which has no limit of its own until it is throttled. q is the quota
// of a part that lanes may belong to.
func newLanePace(q Quota, now time.Time) *pace {
	p := newPace(Quota{}, now)
	p.quota = Quota{Bytes: cmp.Or(q.Bytes, unit.Bytes), Records: cmp.Or(q.Records, unit.Records)}
	return p
}

// rate returns what may be sent in a second; a zero is no limit.
func (p *pace) rate() load {
	return load{float64(p.quota.Bytes), float64(p.quota.Records), float64(p.quota.Requests)}.times(p.share)
}

// shareOf returns the share that sends l in a second.
func (p *pace) shareOf(l load) (share float64) {
	if p.quota.Bytes > 0 {
		share = l.bytes / float64(p.quota.Bytes)
	}
	if p.quota.Records > 0 {
		share = max(share, l.records/float64(p.quota.Records))
	}
	return share
}

// fill brings the share and the buckets up to now.
func (p *pace) fill(now time.Time) {
	if dt := now.Sub(p.filled).Seconds(); dt > 0 {
		p.filled = now
		p.grow(now)
		rate := p.rate()
		p.level = p.level.plus(rate, dt).atMost(rate.times(bucketHolds))
	}
	p.closed = p.closed && p.opens().After(now)
}

// grow makes the share that of now.
func (p *pace) grow(now time.Time) {
	if p.slow {
		p.share = p.recovered(now)
	}
	if p.restarted.IsZero() {
		return
	}
	part := restartShare * math.Exp2(now.Sub(p.restarted).Seconds())
	if part >= 1 {
		p.restarted, part = time.Time{}, 1
	}
	if !p.slow {
		p.share = p.rest
	}
	p.share *= part
}

// recovered returns the share at some time after the last throttling, and notes when all of it is over.
func (p *pace) recovered(now time.Time) float64 {
	t := now.Sub(p.lowered).Seconds()
	switch {
	case t < kneeSeconds:
		return p.low + (p.knee-p.low)*(1-math.Pow(1-t/kneeSeconds, 3))
	case t < peakSeconds:
		return p.knee * math.Pow(p.peak/p.knee, (t-kneeSeconds)/(peakSeconds-kneeSeconds))
	case p.top > 0:
		p.slow = false
		return p.rest
	case !p.taken.After(p.lowered): // nothing shows that there is more
		return p.peak
	case p.probed.Before(p.lowered):
		p.probed = now
	}
	probe := math.Exp2(now.Sub(p.probed).Seconds() / probeSeconds)
	if probe >= forgetFactor {
		p.slow = false
		return p.rest
	}
	return p.peak * probe
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
	wait = min(wait, mostPaced.Seconds())
	return p.filled.Add(time.Duration(wait*1e9) + 1) // rounded up: to be called a little early would spin
}

// allows tells whether so many bytes may join the batch in the making. What is larger than a bucket may,
// once there is as much as there has to be. A nil pace allows all.
func (p *pace) allows(n int) bool {
	if p == nil || p.share == 0 {
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
	p.planned = load{}
}

// took: the service has taken l, of a request that set out at started.
func (p *pace) took(l load, started, now time.Time) {
	p.measure(now)
	p.recent = p.recent.plus(l, 1)
	p.high = max(p.high, p.shareOf(p.recent))
	if started.After(p.lowered) {
		p.taken = now
	}
}

func (p *pace) measure(now time.Time) {
	if dt := now.Sub(p.measured).Seconds(); dt > 0 {
		p.measured = now
		p.recent = p.recent.times(math.Exp(-dt))
		p.high *= math.Exp(-dt / highSeconds)
	}
}

// throttled halves the share, for the service has refused l. A request that set out before the last time
// gives no new information. high is a share that the service took recently, of this part or a similar one.
func (p *pace) throttled(l load, high float64, started, now time.Time) {
	if started.Before(p.lowered) {
		return
	}
	p.fill(now)
	p.measure(now)
	met := p.share
	if p.rest == 0 { // the limit may not be the cause
		met = max(p.shareOf(p.recent), p.shareOf(l))
		if p.slow {
			met = min(met, p.share)
		}
	}
	switch {
	case p.top > 0:
		p.peak = p.top
	case !p.slow:
		p.peak = max(met, p.high, high)
	case p.probed.After(p.lowered): // more was tried than before, and taken
		p.peak = max(p.peak, min(p.high, p.share))
	}
	met = min(met, p.peak)
	p.low = max(met/2, p.peak*leastShare)
	p.knee, p.slow = max(met, p.low), true
	p.share, p.lowered, p.restarted = p.low, now, time.Time{}
	p.level, p.closed = load{}, true
}

// restart begins slowly after an outage.
func (p *pace) restart(now time.Time) {
	if p.share == 0 {
		return
	}
	p.fill(now)
	p.restarted = now
	p.grow(now)
	p.level = load{}
}
