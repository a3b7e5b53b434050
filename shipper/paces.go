package shipper

import (
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// paces are those of a destination: of its shards, or of the whole where it has none, and of its lanes.
// Throttling slows the smallest part that explains it. Where keys matter and the shards are not known, that
// is always a lane.
type paces struct {
	shards  *ShardMap // nil: there are none, or they are unknown
	parts   []*pace   // of the shards, or one for all; none where lanes stand for unknown shards
	lanes   []*pace
	quota   Quota
	keyed   bool
	now     time.Time // of the batch in the making
	touched []*pace   // those that the batch in the making has planned with
}

func newPaces(shape Shape, lanes int, now time.Time) *paces {
	p := &paces{now: now, quota: shape.Quota, keyed: shape.KeyCounts, lanes: make([]*pace, lanes)}
	for i := range p.lanes {
		p.lanes[i] = newLanePace(p.quota, now)
	}
	p.alone()
	return p
}

// alone makes paces that know no shards. The quota is a shard's where keys matter, and lanes don't have it.
func (p *paces) alone() {
	p.shards, p.parts = nil, nil
	if !p.keyed {
		p.parts = []*pace{newPace(p.quota, p.now)}
	}
	p.top()
}

// top makes lanes recover to the quota of the part that they belong to, where both are known.
func (p *paces) top() {
	top := 0.0
	if len(p.parts) > 0 && p.quota.Bytes+p.quota.Records > 0 {
		top = 1
	}
	for _, l := range p.lanes {
		l.top = top
	}
}

// begin makes ready for a batch, by the shards of now.
func (p *paces) begin(now time.Time, m *ShardMap) {
	p.now = now
	p.forget()
	switch {
	case m == p.shards:
	case m == nil:
		p.alone()
	default:
		p.reshard(m)
	}
}

// reshard follows a new map. A shard that was there before keeps its pace.
func (p *paces) reshard(m *ShardMap) {
	before := make(map[string]*pace)
	if p.shards != nil {
		for i, pace := range p.parts {
			before[p.shards.Shard(i).ID] = pace
		}
	}
	p.shards, p.parts = m, make([]*pace, m.Len())
	for i := range p.parts {
		if p.parts[i] = before[m.Shard(i).ID]; p.parts[i] == nil {
			p.parts[i] = newPace(p.quota, p.now)
		}
	}
	p.top()
}

// part returns the pace of the part that a key belongs to, up to date; nil: the part is unknown.
func (p *paces) part(key string) *pace {
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

// lane returns the pace of an event's lane, up to date.
func (p *paces) lane(e *wal.Event) *pace {
	i := 0
	if len(p.lanes) > 1 {
		i = int(e.Lane)
	}
	at := p.lanes[i]
	if at.share > 0 {
		at.fill(p.now)
	}
	return at
}

// plan adds the load of the batch in the making to a pace, which may be nil or without a limit.
func (p *paces) plan(at *pace, bytes, records int) {
	if at == nil || at.share == 0 {
		return
	}
	if at.planned == (load{}) {
		p.touched = append(p.touched, at)
	}
	at.planned = at.planned.plus(load{bytes: float64(bytes), records: float64(records)}, 1)
}

// forget: the batch in the making is not sent.
func (p *paces) forget() {
	for _, pace := range p.touched {
		pace.planned = load{}
	}
	p.touched = p.touched[:0]
}

// spend: the batch in the making is sent.
func (p *paces) spend() {
	for _, pace := range p.touched {
		pace.spend()
	}
	p.touched = p.touched[:0]
}

// restart: the destination is back after an outage.
func (p *paces) restart(now time.Time) {
	for _, pace := range slices.Concat(p.parts, p.lanes) {
		pace.restart(now)
	}
}

// limit returns the bytes a second that all parts may take now, 0 where any of them has no limit, and
// whether the service's throttling slows any part or lane.
func (p *paces) limit(now time.Time) (bytes float64, slowed bool) {
	unlimited := len(p.parts) == 0
	for _, pace := range p.parts {
		pace.fill(now)
		bytes += pace.rate().bytes
		slowed = slowed || pace.slow
		unlimited = unlimited || pace.share == 0 || pace.quota.Bytes == 0
	}
	for _, pace := range p.lanes {
		slowed = slowed || pace.slow
	}
	if unlimited {
		bytes = 0
	}
	return bytes, slowed
}
