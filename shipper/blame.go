package shipper

import (
	"math"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// tallySeconds is the time constant with which a part's tally of its lanes decays.
	tallySeconds = 2.0
	// fine is which part of the records of other lanes may be throttled while one lane's throttling is its own.
	fine = 1.0 / 4
	// stuck is the number of consecutive throttled records after which a lane is no evidence about its part.
	stuck = 2
)

// tally is how the lanes that share a part have fared of late: records that were taken and throttled, fading.
// Its zero value knows nothing.
type tally struct {
	lanes [wal.Lanes]struct {
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
func (t *tally) took(lanes wal.LaneSet) {
	for id := range t.lanes {
		if lanes.Has(uint8(id)) {
			t.lanes[id].ok++
			t.lanes[id].row = 0
		}
	}
}

// throttled counts a record of these lanes that was throttled. Where some of them were throttled before and have
// not been taken since, it is theirs alone. It returns those that it counts for.
func (t *tally) throttled(lanes wal.LaneSet) wal.LaneSet {
	var known wal.LaneSet
	for id := range uint8(wal.Lanes) {
		if lanes.Has(id) && t.lanes[id].row > 0 {
			known = known.With(id)
		}
	}
	if known != 0 {
		lanes = known
	}
	for id := range uint8(wal.Lanes) {
		if lanes.Has(id) {
			t.lanes[id].bad++
			t.lanes[id].row++
		}
	}
	return lanes
}

// alone reports whether these lanes alone explain their throttling: the other lanes of the part do well, or send
// nothing. Throttled records of stuck lanes are no evidence against the part.
func (t *tally) alone(lanes wal.LaneSet) bool {
	ok, bad := 0.0, 0.0
	for id := range uint8(wal.Lanes) {
		if l := &t.lanes[id]; !lanes.Has(id) {
			ok += l.ok
			if l.row < stuck {
				bad += l.bad
			}
		}
	}
	return bad <= max(fine*ok, fine)
}

// learn evaluates the service's response to a request and slows the cause of throttling: a record's lanes where they
// alone explain it, else the part that the record belongs to. A request that failed as a whole is no evidence about
// any part.
func (p *paces) learn(o *outcome, results []*Error, now time.Time) {
	if o.reply.Err != nil {
		return
	}
	blamed := make(map[*draft]wal.LaneSet)
	for i, d := range o.batch.drafts {
		switch failure := results[i]; {
		case failure == nil:
			p.took(d, o.load(i), o.started, now)
		case failure.Class == Throttled:
			blamed[d] = p.blame(d, now)
		}
	}
	for i, d := range o.batch.drafts { // once all of the request is counted
		lanes, throttled := blamed[d]
		switch {
		case !throttled:
		case d.pace == nil || d.pace.tally.alone(lanes):
			p.slow(lanes, p.highest(d.pace), o.load(i), o.started, now)
		default:
			d.pace.throttled(o.load(i), 0, o.started, now)
		}
	}
}

func (p *paces) took(d *draft, l load, started, now time.Time) {
	lanes := d.lanes()
	if d.pace != nil {
		d.pace.took(l, started, now)
		d.pace.tally.fade(now)
		d.pace.tally.took(lanes)
	}
	each := l.times(1 / float64(lanes.Len()))
	for id := range p.lanes {
		if lanes.Has(uint8(id)) {
			p.lanes[id].took(each, started, now)
		}
	}
}

func (p *paces) blame(d *draft, now time.Time) wal.LaneSet {
	if d.pace == nil {
		return d.lanes()
	}
	d.pace.tally.fade(now)
	return d.pace.tally.throttled(d.lanes())
}

// highest returns the highest share that the service took recently of the lane's part, or, if the part is unknown, of
// the busiest lane: a lane that had little to send must not take long to send events that gather while it waits.
func (p *paces) highest(part *pace) (share float64) {
	if part != nil {
		return part.high
	}
	for _, l := range p.lanes {
		share = max(share, l.high)
	}
	return share
}

func (p *paces) slow(lanes wal.LaneSet, high float64, l load, started, now time.Time) {
	for id := range p.lanes {
		if lanes.Has(uint8(id)) {
			p.lanes[id].throttled(l, high, started, now)
		}
	}
}

// overloaded: the service has refused a whole request because it gets too many. Where it has no parts, that is
// about the rate of all.
func (p *paces) overloaded(l load, started, now time.Time) {
	if !p.keyed && len(p.parts) > 0 {
		p.parts[0].throttled(l, 0, started, now)
	}
}

// load returns the load that the service counts for a record.
func (o *outcome) load(record int) load {
	n := len(o.records[record].Data)
	if o.batch.shape.KeyCounts {
		n += len(o.records[record].Key)
	}
	return load{bytes: float64(n), records: 1}
}

// lanes returns the lanes whose events are in the record.
func (d *draft) lanes() (lanes wal.LaneSet) {
	for _, g := range d.groups {
		lanes = lanes.With(g.events[0].Lane)
	}
	return lanes
}
