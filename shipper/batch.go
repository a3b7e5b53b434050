package shipper

import (
	"time"

	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// share is what one lane gives to a batch: the first n events of its queue, and for each the
// record that it is in, or passedOver.
type share struct {
	lane    *lane
	events  []wal.Event
	records []int32
}

// passedOver stands for the record of an event that a batch of one key has passed over: it is of
// another key, and stays in the queue.
const passedOver = -1

// mostPassed bounds the events that are looked at for those of one key, since what is settled among
// the others has to be noted in the lane's mark until the lane has caught up.
const mostPassed = 128

// draft is a record in the making.
type draft struct {
	groups []*group
	events int
	size   int   // framed, without the key
	pace   *pace // of its shard; nil: none
}

// group is the events of one key in a record (where order is the stream's: of any keys).
type group struct {
	key    string
	record int // index of its draft
	events []*wal.Event
	sizer  kpl.Sizer
	size   int // framed
}

// batch is one request: records of as many lanes as fit, never two of one key unless any order will do.
type batch struct {
	shape  Shape
	shares []share
	drafts []*draft
	groups map[string]*group
	size   int // of all records, with what counts of their keys
	events int
	cut    bool // a limit ended a lane's share: waiting would add nothing to it
	oldest time.Time
	alone  bool // holds a suspect lane and no other

	paces  *paces // nil: none
	slow   *pace  // the one that has refused the last event
	waited bool   // a ready lane gave nothing, since its pace has to be waited for
}

func newBatch(shape Shape, paces *paces) *batch {
	return &batch{shape: shape, groups: make(map[string]*group), paces: paces}
}

// maxEvents bounds the events of a batch whose records hold at most RecordEvents each, so that
// they fit its records however the groups fall.
func (b *batch) maxEvents() int {
	if b.shape.RecordEvents == 0 || b.shape.OneKey {
		return 1 << 30
	}
	return b.shape.RecordEvents * max(b.shape.BatchRecords/2-1, 1)
}

// addLane adds as much of the front of l's queue as fits. A lane's share is always a prefix of its
// queue: order needs no more than that. Where a request carries one key, the others are passed over.
func (b *batch) addLane(l *lane) {
	limit := l.limit()
	s := share{lane: l}
	for i := range l.queue {
		e := &l.queue[i]
		if e.Offset >= limit {
			break
		}
		if l.suspect > 0 && i >= l.suspect {
			b.cut = true
			break
		}
		if b.passes(e) && i < mostPassed {
			s.records = append(s.records, passedOver)
			continue
		}
		record, ok := b.add(e)
		if !ok {
			b.cut = b.cut || b.slow == nil
			break
		}
		s.records = append(s.records, int32(record))
	}
	if b.shape.oneKeyed() && len(b.drafts) > 0 && !b.roomFor(b.drafts[0]) {
		b.cut = true
	}
	for n := len(s.records); n > 0 && s.records[n-1] == passedOver; n-- {
		s.records = s.records[:n-1]
	}
	if len(s.records) == 0 {
		b.wait(l)
		return
	}
	s.events = l.queue[:len(s.records)]
	b.shares = append(b.shares, s)
	if b.oldest.IsZero() || l.since.Before(b.oldest) {
		b.oldest = l.since
	}
}

// passes tells whether e is of another key than the one that the batch carries.
func (b *batch) passes(e *wal.Event) bool {
	return b.shape.oneKeyed() && len(b.drafts) > 0 && b.drafts[0].groups[0].key != e.Key && b.roomFor(b.drafts[0])
}

// wait makes a lane that gave nothing wait for its pace, if it was that.
func (b *batch) wait(l *lane) {
	if b.slow == nil {
		return
	}
	l.paced = b.slow.opens()
	b.waited = b.waited || l.paced.After(b.paces.now)
}

// add finds e a place. It returns false when e can't be in this batch.
func (b *batch) add(e *wal.Event) (record int, ok bool) {
	g := b.groups[b.groupKey(e)]
	pace := b.paceOf(g, e)
	if b.slow = nil; pace == nil {
		return b.place(g, e)
	}
	if !pace.allows(len(e.Data) + b.keyCost(e.Key)) {
		b.slow = pace
		return 0, false
	}
	size, records := b.size, len(b.drafts)
	if record, ok = b.place(g, e); ok {
		b.drafts[record].pace = pace
		b.paces.plan(pace, b.size-size, len(b.drafts)-records)
	}
	return record, ok
}

// paceOf returns the pace of e, which may be in a group already; nil: none.
func (b *batch) paceOf(g *group, e *wal.Event) *pace {
	switch {
	case b.paces == nil:
		return nil
	case g != nil:
		return b.drafts[g.record].pace
	}
	return b.paces.of(e)
}

// place puts e into the group of its key, or a new one.
func (b *batch) place(g *group, e *wal.Event) (record int, ok bool) {
	if b.events >= b.maxEvents() {
		return 0, false
	}
	switch {
	case g == nil:
		g, ok = b.newGroup(e)
	case b.joins(g, e):
		ok = true
	case b.shape.WholeOrder, b.shape.AnyOrder:
		g, ok = b.newGroup(e)
	}
	if !ok {
		return 0, false
	}
	b.put(g, e)
	return g.record, true
}

func (b *batch) groupKey(e *wal.Event) string {
	if b.shape.WholeOrder {
		return ""
	}
	return e.Key
}

// grown returns the framed size of g with e in it.
func (b *batch) grown(g *group, e *wal.Event) int {
	switch b.shape.Framing {
	case FramingKPL:
		return g.sizer.With(e.Data)
	case FramingLines:
		return g.size + len(e.Data) + 1
	default:
		return g.size + len(e.Data)
	}
}

// joins tells whether e can join the group of its key.
func (b *batch) joins(g *group, e *wal.Event) bool {
	d := b.drafts[g.record]
	more := b.grown(g, e) - g.size
	return d.size+more <= b.aim(g.key) && b.size+more <= b.shape.MaxBatch && b.roomFor(d)
}

func (b *batch) roomFor(d *draft) bool {
	return b.shape.RecordEvents == 0 || d.events < b.shape.RecordEvents
}

// aim returns the framed bytes to fill a record to.
func (b *batch) aim(key string) int {
	most := b.shape.MaxRecord - b.keyCost(key)
	if b.shape.AimRecord <= 0 {
		return most
	}
	return min(b.shape.AimRecord, most)
}

func (b *batch) keyCost(key string) int {
	if b.shape.KeyCounts {
		return len(key)
	}
	return 0
}

// newGroup opens a group for e, in the last record where it may share one, else in a new record.
func (b *batch) newGroup(e *wal.Event) (*group, bool) {
	g := &group{key: b.groupKey(e), sizer: kpl.NewSizer(len(e.Key))}
	size := b.grown(g, e)
	if !b.shape.OneKey && len(b.drafts) > 0 {
		last := len(b.drafts) - 1
		d := b.drafts[last]
		if d.size+size <= b.aim(e.Key) && b.size+size <= b.shape.MaxBatch && b.roomFor(d) {
			g.record = last
			d.groups = append(d.groups, g)
			b.groups[g.key] = g
			return g, true
		}
	}
	size += b.keyCost(e.Key)
	if len(b.drafts) >= b.shape.BatchRecords || len(b.drafts) > 0 && b.size+size > b.shape.MaxBatch {
		return nil, false
	}
	g.record = len(b.drafts)
	b.drafts = append(b.drafts, &draft{groups: []*group{g}})
	b.size += b.keyCost(e.Key)
	b.groups[g.key] = g
	return g, true
}

func (b *batch) put(g *group, e *wal.Event) {
	more := b.grown(g, e) - g.size
	g.events = append(g.events, e)
	g.size += more
	if b.shape.Framing == FramingKPL {
		g.sizer.Add(e.Data)
	}
	d := b.drafts[g.record]
	d.size += more
	d.events++
	b.size += more
	b.events++
}

// records encodes the drafts.
func (b *batch) records() []Record {
	records := make([]Record, len(b.drafts))
	for i, d := range b.drafts {
		records[i] = d.record(&b.shape)
	}
	return records
}

func (d *draft) record(shape *Shape) Record {
	first := d.groups[0].events[0]
	r := Record{Key: first.Key, First: first.Offset, Last: first.Offset, Events: d.events}
	r.Data = make([]byte, 0, d.size)
	for _, g := range d.groups {
		r.Data = g.append(r.Data, shape.Framing)
		r.First = min(r.First, g.events[0].Offset)
		r.Last = max(r.Last, g.events[len(g.events)-1].Offset)
	}
	return r
}

// append frames the group's events: in their order, each on its own line where lines are asked for.
func (g *group) append(dst []byte, framing Framing) []byte {
	if framing == FramingKPL {
		payloads := make([][]byte, len(g.events))
		for i, e := range g.events {
			payloads[i] = e.Data
		}
		return kpl.Append(dst, g.key, payloads)
	}
	for _, e := range g.events {
		dst = append(dst, e.Data...)
		if framing == FramingLines {
			dst = append(dst, '\n')
		}
	}
	return dst
}
