package shipper

import (
	"time"

	"github.com/standpipe/standpipe/wal"
)

// paces are those of a destination's shards. Where keys matter and the shards are not known, each lane
// stands for one, so that throttling still slows only the lanes that meet it. Where there are no
// keys, one pace is the destination's.
type paces struct {
	shards  *ShardMap // nil: there are none, or nobody knows
	parts   []*pace
	quota   Quota
	lanes   int       // that stand for shards where those are not known; 1: for the destination
	now     time.Time // of the batch in the making
	touched []*pace   // those that the batch in the making has planned with
}

func newPaces(sink Sink, lanes int, now time.Time) *paces {
	p := &paces{now: now}
	shape := sink.Shape()
	if !shape.KeyCounts {
		lanes = 1
	}
	p.quota, p.lanes = shape.Quota, lanes
	p.alone()
	return p
}

// alone makes paces that know no shards. The quota is a shard's where keys matter, so lanes don't have it.
func (p *paces) alone() {
	quota := p.quota
	if p.lanes > 1 {
		quota = Quota{}
	}
	p.shards, p.parts = nil, make([]*pace, p.lanes)
	for i := range p.parts {
		p.parts[i] = newPace(quota, p.now)
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
}

// of returns the pace that an event goes at, up to date.
func (p *paces) of(e *wal.Event) *pace {
	i := 0
	switch {
	case p.shards != nil:
		i = p.shards.Find(e.Key)
	case p.lanes > 1:
		i = int(e.Lane)
	}
	p.parts[i].fill(p.now)
	return p.parts[i]
}

// plan notes what the batch in the making holds at a pace.
func (p *paces) plan(at *pace, bytes, records int) {
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
	for _, pace := range p.parts {
		pace.restart(now)
	}
}

// limit returns the bytes a second that all parts may take now, 0 where any of them has no limit, and
// whether the service's throttling has lowered one.
func (p *paces) limit() (bytes float64, slowed bool) {
	unlimited := false
	for _, pace := range p.parts {
		bytes += pace.rate().bytes
		slowed = slowed || pace.slowed()
		unlimited = unlimited || pace.share == 0 || pace.quota.Bytes == 0
	}
	if unlimited {
		bytes = 0
	}
	return bytes, slowed
}
