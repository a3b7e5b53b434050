package pace

import (
	"math/bits"
	"slices"
	"time"
)

// NumLanes is the largest number of a Pacer's lanes.
const NumLanes = 64

// Lanes is a set of lanes: bit i is lane i.
type Lanes uint64

func (l Lanes) has(id int) bool { return l>>id&1 == 1 }

func (l Lanes) len() int { return bits.OnesCount64(uint64(l)) }

// Pacer has the paces of a destination: one for each shard, or one for the whole where it has none, and one for each
// lane. Where partition keys select a shard and the shards are unknown, it has the lanes' paces only.
type Pacer struct {
	shards  *ShardMap // nil: there are none, or they are unknown
	parts   []*Pace   // one for each shard, or one for all; none where the shards are unknown
	lanes   []*Pace   // nil: nothing of the lane was sent yet
	top     float64   // of the lanes' paces
	quota   Quota
	keyed   bool
	now     time.Time // of the batch in the making
	touched []*Pace   // paces with a planned load of the batch in the making
}

// NewPacer returns the pacer of a destination with the given number of lanes. keyed means that partition keys select a
// shard, so the quota is a shard's; otherwise it is the destination's.
func NewPacer(quota Quota, keyed bool, lanes int, now time.Time) *Pacer {
	p := &Pacer{now: now, quota: quota, keyed: keyed, lanes: make([]*Pace, lanes)}
	p.unshard()
	return p
}

// unshard makes the parts of a destination without known shards.
func (p *Pacer) unshard() {
	p.shards, p.parts = nil, nil
	if !p.keyed {
		p.parts = []*Pace{newPace(p.quota, p.now)}
	}
	p.setTop()
}

// setTop makes lanes recover to the quota of their part, where both are known.
func (p *Pacer) setTop() {
	p.top = 0
	if len(p.parts) > 0 && p.quota.Bytes+p.quota.Records > 0 {
		p.top = 1
	}
	for _, l := range p.lanes {
		if l != nil {
			l.top = p.top
		}
	}
}

// lane returns the pace of the lane at index i. Most lanes of an idle destination have none yet.
func (p *Pacer) lane(i int, now time.Time) *Pace {
	if p.lanes[i] == nil {
		p.lanes[i] = newLanePace(p.quota, now)
		p.lanes[i].top = p.top
	}
	return p.lanes[i]
}

// Begin starts a batch with the present shards, and discards the planned load of a batch that was not sent. m is nil where
// the shards are unknown.
func (p *Pacer) Begin(now time.Time, m *ShardMap) {
	p.now = now
	for _, pace := range p.touched {
		pace.planned = Load{}
	}
	p.touched = p.touched[:0]
	switch {
	case m == p.shards:
	case m == nil:
		p.unshard()
	default:
		p.reshard(m)
	}
}

// reshard follows a new map. A shard that was there before keeps its pace.
func (p *Pacer) reshard(m *ShardMap) {
	before := make(map[string]*Pace)
	if p.shards != nil {
		for i, pace := range p.parts {
			before[p.shards.Shard(i).ID] = pace
		}
	}
	p.shards, p.parts = m, make([]*Pace, m.Len())
	for i := range p.parts {
		if p.parts[i] = before[m.Shard(i).ID]; p.parts[i] == nil {
			p.parts[i] = newPace(p.quota, p.now)
		}
	}
	p.setTop()
}

// Now returns the time of the batch in the making.
func (p *Pacer) Now() time.Time { return p.now }

// Shards returns the map of the batch in the making; nil: none.
func (p *Pacer) Shards() *ShardMap { return p.shards }

// Part returns the pace of the part that a key belongs to, up to date; nil: the part is unknown.
func (p *Pacer) Part(key string) *Pace {
	i := 0
	switch {
	case len(p.parts) == 0:
		return nil
	case p.shards != nil:
		i = p.shards.Find(key)
	}
	p.parts[i].fill(p.now)
	return p.parts[i]
}

// Lane returns the pace of a lane, up to date; nil: it has no limit. If the destination has a single lane for all, it returns that lane's.
func (p *Pacer) Lane(id uint8) *Pace {
	i := 0
	if len(p.lanes) > 1 {
		i = int(id)
	}
	at := p.lanes[i]
	if at.Limited() {
		at.fill(p.now)
	}
	return at
}

// Plan adds load of the batch in the making to a pace, which may be nil or without a limit. Negative numbers remove
// load.
func (p *Pacer) Plan(at *Pace, bytes, records int) {
	if !at.Limited() {
		return
	}
	if at.planned == (Load{}) {
		p.touched = append(p.touched, at)
	}
	at.planned = at.planned.Plus(Load{Bytes: float64(bytes), Records: float64(records)}, 1)
}

// Spend takes the planned load: the batch in the making is sent.
func (p *Pacer) Spend() {
	for _, pace := range p.touched {
		pace.spend()
	}
	p.touched = p.touched[:0]
}

// Restart makes all paces begin slowly after an outage.
func (p *Pacer) Restart(now time.Time) {
	for _, pace := range slices.Concat(p.parts, p.lanes) {
		if pace != nil {
			pace.restart(now)
		}
	}
}

// Limit returns the bytes a second that all parts take now, 0 if any of them has no limit, and whether throttling slows
// any part or lane.
func (p *Pacer) Limit(now time.Time) (bytes float64, slowed bool) {
	unlimited := len(p.parts) == 0
	for _, pace := range p.parts {
		pace.fill(now)
		bytes += pace.rate().Bytes
		slowed = slowed || pace.slow
		unlimited = unlimited || pace.factor == 0 || pace.quota.Bytes == 0
	}
	for _, pace := range p.lanes {
		slowed = slowed || pace != nil && pace.slow
	}
	if unlimited {
		bytes = 0
	}
	return bytes, slowed
}
