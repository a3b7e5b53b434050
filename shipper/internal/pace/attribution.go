package pace

import (
	"math"
	"time"
)

const (
	// tallySeconds is the time constant with which a part's tally of its lanes decays.
	tallySeconds = 2.0
	// tolerated is the part of the other lanes' records that may be throttled while one lane's throttling is its own.
	tolerated = 1.0 / 4
	// stuckRecords is the number of consecutive throttled records after which a lane is no evidence about its part.
	stuckRecords = 2
)

// Result is the service's result for a record.
type Result uint8

// The results.
const (
	Other Result = iota // failed for a reason that is no evidence about rates
	Taken
	Throttled
)

// Sample is a record of a request that got a response from the service.
type Sample struct {
	Part   *Pace // nil: unknown
	Lanes  Lanes // that have events in the record
	Load   Load
	Result Result

	slow Lanes // the lanes to which its throttling is attributed
}

// Learn evaluates the response to a request that started at started. Throttling slows only the lanes of the throttled
// record if those lanes alone explain it; otherwise it slows the part. Learn must not be called for a request that
// failed as a whole.
func (p *Pacer) Learn(samples []Sample, started, now time.Time) {
	for i := range samples {
		switch s := &samples[i]; s.Result {
		case Taken:
			p.took(s, started, now)
		case Throttled:
			s.slow = s.Lanes
			if s.Part != nil {
				s.Part.tally.fade(now)
				s.slow = s.Part.tally.throttled(s.Lanes)
			}
		}
	}
	for i := range samples { // once all records of the request are counted
		switch s := &samples[i]; {
		case s.Result != Throttled:
		case s.Part == nil || s.Part.tally.alone(s.slow):
			p.slowLanes(s, started, now)
		default:
			s.Part.throttled(s.Load, 0, started, now)
		}
	}
}

// Overloaded slows the whole destination after the service rejected a whole request of that load because of its rate.
// If the destination has shards, the rejection is no evidence about any of them.
func (p *Pacer) Overloaded(l Load, started, now time.Time) {
	if !p.keyed && len(p.parts) > 0 {
		p.parts[0].throttled(l, 0, started, now)
	}
}

func (p *Pacer) took(s *Sample, started, now time.Time) {
	if s.Part != nil {
		s.Part.took(s.Load, started, now)
		s.Part.tally.fade(now)
		s.Part.tally.took(s.Lanes)
	}
	each := s.Load.times(1 / float64(s.Lanes.len()))
	for id := range p.lanes {
		if s.Lanes.has(id) {
			p.lane(id, now).took(each, started, now)
		}
	}
}

func (p *Pacer) slowLanes(s *Sample, started, now time.Time) {
	high := p.highest(s.Part)
	for id := range p.lanes {
		if s.slow.has(id) {
			p.lane(id, now).throttled(s.Load, high, started, now)
		}
	}
}

// highest returns the highest factor that the service recently took of the lane's part. If the part is unknown, it
// returns the busiest lane's: a lane that had little to send must not take long to send the events that gather while it
// waits.
func (p *Pacer) highest(part *Pace) (factor float64) {
	if part != nil {
		return part.high
	}
	for _, l := range p.lanes {
		if l != nil {
			factor = max(factor, l.high)
		}
	}
	return factor
}

// tally counts the recent records of the lanes that share a part, taken and throttled. The counts decay. Its zero value
// has no records.
type tally struct {
	lanes [NumLanes]struct {
		ok, bad float64
		row     int // throttled since the last one that was taken
	}
	faded time.Time
}

func (t *tally) fade(now time.Time) {
	by := math.Exp(-now.Sub(t.faded).Seconds() / tallySeconds)
	t.faded = now
	for i := range t.lanes {
		t.lanes[i].ok *= by
		t.lanes[i].bad *= by
	}
}

// took counts a record of these lanes that was taken.
func (t *tally) took(lanes Lanes) {
	for id := range t.lanes {
		if lanes.has(id) {
			t.lanes[id].ok++
			t.lanes[id].row = 0
		}
	}
}

// throttled counts a record of these lanes that was throttled, and returns the lanes that it counts for. If some of them
// were throttled before and not taken since, it is theirs alone.
func (t *tally) throttled(lanes Lanes) Lanes {
	var known Lanes
	for id := range t.lanes {
		if lanes.has(id) && t.lanes[id].row > 0 {
			known |= 1 << id
		}
	}
	if known != 0 {
		lanes = known
	}
	for id := range t.lanes {
		if lanes.has(id) {
			t.lanes[id].bad++
			t.lanes[id].row++
		}
	}
	return lanes
}

// alone reports whether these lanes alone explain their throttling: the other lanes of the part do well, or send
// nothing. Throttled records of stuck lanes are no evidence against the part.
func (t *tally) alone(lanes Lanes) bool {
	ok, bad := 0.0, 0.0
	for id := range t.lanes {
		if l := &t.lanes[id]; !lanes.has(id) {
			ok += l.ok
			if l.row < stuckRecords {
				bad += l.bad
			}
		}
	}
	return bad <= max(tolerated*ok, tolerated)
}
