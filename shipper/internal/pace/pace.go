package pace

import (
	"cmp"
	"math"
	"time"

	"github.com/standpipe/standpipe/shipper/limit"
)

const (
	// burstSeconds is the number of seconds whose tokens a bucket holds. A bucket that ran empty is used again once it
	// holds the part reopenPart of that, so that small records still share a request.
	burstSeconds = 1.0
	reopenPart   = 0.6
	// minFactor is the lower limit of a throttled factor, as a part of the factor before all throttling: enough to
	// notice when the throttling ends.
	minFactor = 1.0 / 64
	// After the last throttling a pace is back at the factor that met it after kneeSeconds. The curve flattens there,
	// since the service may take that and no more. After peakSeconds the pace is back at the factor before all
	// throttling: from the knee on it grows by equal ratios in equal times, however far down it went.
	kneeSeconds = 5.0
	peakSeconds = 16.0
	// Then a pace without a quota doubles in probeSeconds, and loses its limit at unlimitFactor times that factor.
	probeSeconds  = 1.5
	unlimitFactor = 4
	// highSeconds is the time constant with which the highest reached factor decays while nothing is throttled.
	highSeconds = 60.0
	// After an outage a pace starts at restartPart of its factor and doubles each second.
	restartPart = 1.0 / 8
	// maxRetry bounds the time until a lane checks its pace for tokens again, because the rate of a pace may have
	// grown.
	maxRetry = time.Second
)

// Pace is the rate of one part of a destination, or of one lane: token buckets of its quota times a factor. Where no
// quota is known, the first throttling shows the limit.
type Pace struct {
	quota  Quota   // factor is a multiple of it
	whole  float64 // the factor while nothing is throttled; 0: no limit
	top    float64 // the factor that recovery leads back to; 0: the one that was reached
	factor float64 // now; 0: no limit

	slow    bool      // throttled, and the factor before that is not back
	peak    float64   // the factor before all throttling
	knee    float64   // the factor that met the last throttling
	low     float64   // the factor that the last throttling left
	lowered time.Time // the time of the last throttling
	probed  time.Time // when the factor before throttling was back and there was more to send
	taken   time.Time // when the service last took a record of a request that started after lowered

	restarted time.Time // the end of an outage, until the factor is whole again

	buckets buckets
	planned Load // of the batch in the making
	filled  time.Time
	closed  bool // a bucket ran empty: the pace stays unused until its buckets hold reopenPart

	recent   Load    // load that the service took, decaying within a second
	high     float64 // the highest recent factor that the service took
	measured time.Time

	tally *tally // of the lanes that share the part; nil for the pace of a lane
}

// buckets are a pace's, by the kinds of load.
type buckets struct{ bytes, records, requests limit.Bucket }

// set changes the buckets' rate.
func (b *buckets) set(rate Load) {
	b.bytes.Set(rate.Bytes, rate.Bytes*burstSeconds)
	b.records.Set(rate.Records, rate.Records*burstSeconds)
	b.requests.Set(rate.Requests, rate.Requests*burstSeconds)
}

func (b *buckets) fill(now time.Time) {
	b.bytes.Fill(now)
	b.records.Fill(now)
	b.requests.Fill(now)
}

func (b *buckets) take(l Load) {
	b.bytes.Take(l.Bytes)
	b.records.Take(l.Records)
	b.requests.Take(l.Requests)
}

func (b *buckets) empty() {
	b.bytes.Reset(0)
	b.records.Reset(0)
	b.requests.Reset(0)
}

// newPace returns the pace of a part with a quota of its own; a zero quota is unknown.
func newPace(q Quota, now time.Time) *Pace {
	p := unlimitedPace(now)
	p.tally = new(tally)
	if q != (Quota{}) {
		p.quota, p.whole, p.top, p.factor = q, 1, 1, 1
		rate := p.rate()
		p.buckets.set(rate)
		p.buckets.take(rate.times(-burstSeconds)) // full
	}
	return p
}

// newLanePace returns the pace of a lane, which has no limit of its own until it is throttled. q is the quota of a part
// that lanes may belong to.
func newLanePace(q Quota, now time.Time) *Pace {
	p := unlimitedPace(now)
	p.quota = Quota{Bytes: cmp.Or(q.Bytes, unit.Bytes), Records: cmp.Or(q.Records, unit.Records)}
	return p
}

func unlimitedPace(now time.Time) *Pace {
	p := &Pace{quota: unit, filled: now, measured: now}
	p.buckets.fill(now)
	return p
}

// Limited reports whether the pace has a limit now. A nil pace has none.
func (p *Pace) Limited() bool { return p != nil && p.factor > 0 }

// rate returns the load that may be sent in a second; a zero is no limit.
func (p *Pace) rate() Load {
	return Load{float64(p.quota.Bytes), float64(p.quota.Records), float64(p.quota.Requests)}.times(p.factor)
}

// factorOf returns the factor that sends l in a second.
func (p *Pace) factorOf(l Load) (factor float64) {
	if p.quota.Bytes > 0 {
		factor = l.Bytes / float64(p.quota.Bytes)
	}
	if p.quota.Records > 0 {
		factor = max(factor, l.Records/float64(p.quota.Records))
	}
	return factor
}

// fill brings the factor and the buckets up to now.
func (p *Pace) fill(now time.Time) {
	if now.After(p.filled) {
		p.filled = now
		p.grow(now)
		p.buckets.set(p.rate())
		p.buckets.fill(now)
	}
	p.closed = p.closed && p.Opens().After(now)
}

// grow sets the factor to its value at now.
func (p *Pace) grow(now time.Time) {
	if p.slow {
		p.factor = p.recovered(now)
	}
	if p.restarted.IsZero() {
		return
	}
	part := restartPart * math.Exp2(now.Sub(p.restarted).Seconds())
	if part >= 1 {
		p.restarted, part = time.Time{}, 1
	}
	if !p.slow {
		p.factor = p.whole
	}
	p.factor *= part
}

// recovered returns the factor at now, after the last throttling. It clears slow when the recovery is complete.
func (p *Pace) recovered(now time.Time) float64 {
	t := now.Sub(p.lowered).Seconds()
	switch {
	case t < kneeSeconds:
		return p.low + (p.knee-p.low)*(1-math.Pow(1-t/kneeSeconds, 3))
	case t < peakSeconds:
		return p.knee * math.Pow(p.peak/p.knee, (t-kneeSeconds)/(peakSeconds-kneeSeconds))
	case p.top > 0:
		p.slow = false
		return p.whole
	case !p.taken.After(p.lowered): // nothing shows that the service takes more
		return p.peak
	case p.probed.Before(p.lowered):
		p.probed = now
	}
	probe := math.Exp2(now.Sub(p.probed).Seconds() / probeSeconds)
	if probe >= unlimitFactor {
		p.slow = false
		return p.whole
	}
	return p.peak * probe
}

// Opens returns when a pace that ran empty is used again.
func (p *Pace) Opens() time.Time {
	rate, b := p.rate(), &p.buckets
	wait := max(b.bytes.Until(reopenPart*rate.Bytes), b.records.Until(reopenPart*rate.Records), b.requests.Until(reopenPart*rate.Requests))
	if wait == 0 {
		return p.filled
	}
	wait = min(wait, maxRetry.Seconds())
	return p.filled.Add(time.Duration(wait*1e9) + 1) // rounded up: a retry a little too early would spin
}

// Allows reports whether that many bytes may join the batch in the making. A record that is larger than a bucket is
// allowed once the bucket holds reopenPart. A nil pace allows everything.
func (p *Pace) Allows(bytes int) bool {
	if !p.Limited() {
		return true
	}
	fresh := p.planned == (Load{})
	enough := func(b *limit.Bucket, planned, need float64) bool {
		left := b.Level() - planned
		return b.Rate() == 0 || left >= need || fresh && left >= reopenPart*b.Rate()
	}
	b := &p.buckets
	p.closed = p.closed || !enough(&b.bytes, p.planned.Bytes, float64(bytes)) ||
		!enough(&b.records, p.planned.Records, 1) || !enough(&b.requests, p.planned.Requests, 1)
	return !p.closed
}

// spend takes the planned load of the batch in the making, which is sent now.
func (p *Pace) spend() {
	p.planned.Requests = 1
	if p.factor > 0 {
		p.buckets.take(p.planned)
	}
	p.planned = Load{}
}

// took records that the service took l, from a request that started at started.
func (p *Pace) took(l Load, started, now time.Time) {
	p.measure(now)
	p.recent = p.recent.Plus(l, 1)
	p.high = max(p.high, p.factorOf(p.recent))
	if started.After(p.lowered) {
		p.taken = now
	}
}

func (p *Pace) measure(now time.Time) {
	if dt := now.Sub(p.measured).Seconds(); dt > 0 {
		p.measured = now
		p.recent = p.recent.times(math.Exp(-dt))
		p.high *= math.Exp(-dt / highSeconds)
	}
}

// throttled halves the factor because the service rejected l. A request that started before the last throttling is no
// new evidence. high is a factor that the service took recently, of this part or a similar one.
func (p *Pace) throttled(l Load, high float64, started, now time.Time) {
	if started.Before(p.lowered) {
		return
	}
	p.fill(now)
	p.measure(now)
	met := p.factor
	if p.whole == 0 { // our limit may not be the cause
		met = max(p.factorOf(p.recent), p.factorOf(l))
		if p.slow {
			met = min(met, p.factor)
		}
	}
	switch {
	case p.top > 0:
		p.peak = p.top
	case !p.slow:
		p.peak = max(met, p.high, high)
	case p.probed.After(p.lowered): // more than before was tried, and taken
		p.peak = max(p.peak, min(p.high, p.factor))
	}
	met = min(met, p.peak)
	p.low = max(met/2, p.peak*minFactor)
	p.knee, p.slow = max(met, p.low), true
	p.factor, p.lowered, p.restarted = p.low, now, time.Time{}
	p.buckets.set(p.rate())
	p.buckets.empty()
	p.closed = true
}

// restart makes the pace begin slowly after an outage.
func (p *Pace) restart(now time.Time) {
	if p.factor == 0 {
		return
	}
	p.fill(now)
	p.restarted = now
	p.grow(now)
	p.buckets.set(p.rate())
	p.buckets.empty()
}
