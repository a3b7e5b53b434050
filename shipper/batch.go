package shipper

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// share is what one lane gives to a batch: the first n events of its queue, and for each the group
// that it is in. An event without a group was passed over by a batch of one key: it is of another key,
// and stays in the queue.
type share struct {
	lane   *lane
	events []wal.Event
	groups []*group
	spent  bool // its records' limits ended it: waiting would add nothing to it
}

// mostPassed bounds the events that are looked at for those of one key, since what is settled among
// the others has to be noted in the lane's mark until the lane has caught up.
const mostPassed = 128

// draft is a record in the making.
type draft struct {
	groups []*group
	events int
	size   int        // framed, without the key
	sizer  kpl.Sizer  // of KPL's format
	pace   *pace.Pace // of the part that it belongs to; nil: none
}

// group is the events of one key in a record (where order is the stream's: of any keys).
type group struct {
	key    string
	record int // index of its draft
	place  int // among the draft's groups, until some of them move
	events []*wal.Event
	size   int // framed

	one [1]*wal.Event // what events are in at first: with many keys most groups have no other
}

// batch is one request: records of as many lanes as fit, never two of one key unless any order will do.
type batch struct {
	shape  Shape
	shares []share
	drafts []*draft
	groups map[string]*group // by groupKey, while the batch is formed
	size   int               // of all records, with what counts of their keys
	events int
	full   bool // a limit of requests was met: nothing can be added to it
	alone  bool // holds a suspect lane and no other

	charged int // bytes of the link

	shards  *ShardMap   // set where records are by shard
	ofShard map[int]int // the index of each shard's last record

	pacer  *pace.Pacer // nil: none
	shrink float64     // framed bytes for one that is sent, as far as it is known
	slow   *pace.Pace  // the one that has refused the last event
	waited bool        // a ready lane gave nothing, since its pace has to be waited for
}

// newBatch returns an empty batch. groups is an empty map, the batch's own until it is formed.
func newBatch(shape Shape, pacer *pace.Pacer, groups map[string]*group) *batch {
	return &batch{shape: shape, groups: groups, pacer: pacer, shrink: 1}
}

// byShard makes the batch's records hold all keys of a shard.
func (b *batch) byShard(m *ShardMap) {
	if m != nil && b.shape.ByShard && b.shape.Framing == FramingKPL {
		b.shards, b.ofShard = m, make(map[int]int)
	}
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
			break
		}
		if b.passes(e) && i < mostPassed {
			s.groups = append(s.groups, nil)
			continue
		}
		g := b.add(e)
		if g == nil {
			s.spent = !b.full && b.slow == nil
			break
		}
		s.groups = append(s.groups, g)
	}
	if b.shape.oneKeyed() && len(b.drafts) > 0 && !b.roomFor(b.drafts[0], 0) {
		s.spent = true
	}
	for n := len(s.groups); n > 0 && s.groups[n-1] == nil; n-- {
		s.groups = s.groups[:n-1]
	}
	if len(s.groups) == 0 {
		b.wait(l)
		return
	}
	s.events = l.queue[:len(s.groups)]
	b.shares = append(b.shares, s)
}

// spent returns the lanes that gain nothing by waiting, since their records take no more, or since they
// may hold no more in memory.
func (b *batch) spent(filled func(*lane) bool) (lanes wal.LaneSet) {
	for i := range b.shares {
		if s := &b.shares[i]; s.spent || filled(s.lane) {
			lanes |= s.lane.set
		}
	}
	return lanes
}

// passes tells whether e is of another key than the one that the batch carries.
func (b *batch) passes(e *wal.Event) bool {
	return b.shape.oneKeyed() && len(b.drafts) > 0 && b.drafts[0].groups[0].key != e.Key && b.roomFor(b.drafts[0], 0)
}

// wait makes a lane that gave nothing wait for its pace, if it was that.
func (b *batch) wait(l *lane) {
	if b.slow == nil {
		return
	}
	l.paced = b.slow.Opens()
	b.waited = b.waited || l.paced.After(b.pacer.Now())
}

// add finds e a place. It returns nil when e can't be in this batch.
func (b *batch) add(e *wal.Event) *group {
	g := b.groups[b.groupKey(e)]
	if b.slow = nil; b.pacer == nil {
		return b.place(g, e)
	}
	part, lane := b.partOf(g, e), b.pacer.Lane(e.Lane)
	n := b.sent(len(e.Data) + b.keyCost(e.Key))
	switch {
	case !part.Allows(n):
		b.slow = part
		return nil
	case !lane.Allows(n):
		b.slow = lane
		return nil
	}
	size, records := b.size, len(b.drafts)
	if g = b.place(g, e); g != nil {
		b.drafts[g.record].pace = part
		n, records := b.sent(b.size-size), len(b.drafts)-records
		b.pacer.Plan(part, n, records)
		b.pacer.Plan(lane, n, records)
	}
	return g
}

// sent returns what framed bytes will be when they are sent, as far as it is known.
func (b *batch) sent(framed int) int { return int(float64(framed) / b.shrink) }

// partOf returns the pace of the part that e belongs to, which may be in a group already; nil: none.
func (b *batch) partOf(g *group, e *wal.Event) *pace.Pace {
	if g != nil {
		return b.drafts[g.record].pace
	}
	return b.pacer.Part(e.Key)
}

// place puts e into the group of its key, or a new one.
func (b *batch) place(g *group, e *wal.Event) *group {
	if b.events >= b.maxEvents() {
		b.full = true
		return nil
	}
	switch {
	case g == nil:
		g = b.newGroup(e)
	case b.joins(g, e):
	case b.shape.WholeOrder, b.shape.AnyOrder:
		g = b.newGroup(e)
	case b.movable(g):
		b.move(g, e)
	default:
		return nil
	}
	if g != nil {
		b.put(g, e)
	}
	return g
}

func (b *batch) groupKey(e *wal.Event) string {
	if b.shape.WholeOrder {
		return ""
	}
	return e.Key
}

// more returns the bytes that e adds to d as an event of its group at that place; the place after the last
// is a new group's.
func (b *batch) more(d *draft, place int, e *wal.Event) int {
	if b.shape.Framing != FramingKPL {
		return b.lineSize(e)
	}
	with := d.sizer
	if place > 0 && place == len(d.groups) {
		with.AddKey(len(e.Key))
	}
	b.count(&with, place, e)
	return with.Size() - d.size
}

// count counts e in a record of KPL's format, as one of the key at that place.
func (b *batch) count(sizer *kpl.Sizer, place int, e *wal.Event) {
	if b.shape.Envelope == nil {
		sizer.Add(place, e.Data)
		return
	}
	sizer.AddSize(place, b.shape.Envelope.Size(e))
}

// lineSize returns the bytes that e takes where it is not in KPL's format.
func (b *batch) lineSize(e *wal.Event) int {
	if b.shape.Framing == FramingLines {
		return b.shape.eventSize(e) + 1
	}
	return b.shape.eventSize(e)
}

// joins tells whether e can join the group of its key.
func (b *batch) joins(g *group, e *wal.Event) bool {
	d := b.drafts[g.record]
	more := b.more(d, g.place, e)
	if b.size+more > b.shape.MaxBatch {
		b.full = true
		return false
	}
	return d.size+more <= b.aim(d.groups[0].key) && b.roomFor(d, more)
}

// roomFor tells whether d takes an event of more bytes. Near the number of events that a record may
// hold, it takes none that begins a billed step which the last ones could not fill.
func (b *batch) roomFor(d *draft, more int) bool {
	left, step := b.recordEvents()-d.events, b.shape.BilledStep
	if left <= 0 || b.shape.RecordEvents == 0 || d.events == 0 || step <= 1 || b.shape.Compression != Plain {
		return left > 0
	}
	size := b.counted(d)
	begins := (size+more-1)/step > (size-1)/step
	return !begins || size < step || left*(size/d.events) >= step/8*7
}

// worthLeaving is how many billed steps a record has to keep for a group to be moved out of it.
const worthLeaving = 4

// movable tells whether g, which has no room in its record because it shares it, is worth another
// record: where it leaves little behind, it nearly fills the record by itself.
func (b *batch) movable(g *group) bool {
	if b.shape.Framing == FramingKPL { // sizes don't add up there
		return false
	}
	left := b.drafts[g.record].size - g.size
	return !b.full && left > 0 && left >= worthLeaving*b.shape.BilledStep && len(b.drafts) < b.shape.BatchRecords
}

// move takes g out of its record, into the last one where that has room for it and e, else into a new one.
func (b *batch) move(g *group, e *wal.Event) {
	from := b.drafts[g.record]
	from.groups = slices.DeleteFunc(from.groups, func(other *group) bool { return other == g })
	from.size -= g.size
	from.events -= len(g.events)
	last := b.drafts[len(b.drafts)-1]
	if last == from || last.size+g.size+b.lineSize(e) > b.aim(g.key) || last.events+len(g.events)+1 > b.recordEvents() {
		last = &draft{}
		b.drafts = append(b.drafts, last)
	}
	g.record = len(b.drafts) - 1
	last.groups = append(last.groups, g)
	last.size += g.size
	last.events += len(g.events)
}

// recordEvents is how many events a record may hold.
func (b *batch) recordEvents() int { return cmp.Or(b.shape.RecordEvents, math.MaxInt) }

// aim returns the framed bytes to fill a record to: a whole number of billed steps, unless it is not known
// what will be billed.
func (b *batch) aim(key string) int {
	cost := b.keyCost(key)
	most := b.shape.framedMost() - cost
	if b.shape.AimRecord > 0 {
		most = min(most, b.shape.AimRecord)
	}
	if b.shape.Compression != Plain {
		return most
	}
	if over := (most + cost) % max(b.shape.BilledStep, 1); over < most {
		most -= over
	}
	return most
}

func (b *batch) keyCost(key string) int {
	if b.shape.KeyCounts {
		return len(key)
	}
	return 0
}

// newGroup opens a group for e, in a record that it may share, else in a new one.
func (b *batch) newGroup(e *wal.Event) *group {
	g := &group{key: b.groupKey(e)}
	g.events = g.one[:0]
	if i := b.company(e); i >= 0 && b.takesIn(b.drafts[i], e) {
		b.join(g, i)
		return g
	}
	d := &draft{sizer: kpl.NewSizer(len(e.Key))}
	size := b.more(d, 0, e) + b.keyCost(e.Key)
	if len(b.drafts) >= b.shape.BatchRecords || len(b.drafts) > 0 && b.size+size > b.shape.MaxBatch {
		b.full = true
		return nil
	}
	b.drafts = append(b.drafts, d)
	b.size += b.keyCost(e.Key)
	b.join(g, len(b.drafts)-1)
	if b.shards != nil {
		b.ofShard[b.shards.Find(e.Key)] = g.record
	}
	return g
}

// company returns the index of the record that a new key's events may share, or -1.
func (b *batch) company(e *wal.Event) int {
	switch {
	case b.shards != nil:
		if i, ok := b.ofShard[b.shards.Find(e.Key)]; ok {
			return i
		}
		return -1
	case b.shape.OneKey:
		return -1
	}
	return len(b.drafts) - 1
}

// takesIn tells whether d, a record of other keys, has room for the first event of one more.
func (b *batch) takesIn(d *draft, e *wal.Event) bool {
	more := b.more(d, len(d.groups), e)
	return d.size+more <= b.aim(d.groups[0].key) && b.size+more <= b.shape.MaxBatch && b.roomFor(d, more)
}

// join makes g a group of a record.
func (b *batch) join(g *group, record int) {
	d := b.drafts[record]
	g.record, g.place = record, len(d.groups)
	if g.place > 0 {
		d.sizer.AddKey(len(g.key))
	}
	d.groups = append(d.groups, g)
	b.groups[g.key] = g
}

func (b *batch) put(g *group, e *wal.Event) {
	d := b.drafts[g.record]
	more := b.more(d, g.place, e)
	if b.shape.Framing == FramingKPL {
		b.count(&d.sizer, g.place, e)
	}
	g.events = append(g.events, e)
	g.size += more
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
	for _, g := range d.groups {
		r.First = min(r.First, g.events[0].Offset)
		r.Last = max(r.Last, g.events[len(g.events)-1].Offset)
	}
	if shape.Compression == Plain {
		r.Data = d.frame(make([]byte, 0, d.size), shape)
		return r
	}
	framed := framedBytes.Get().(*[]byte)
	defer framedBytes.Put(framed)
	*framed = d.frame(slices.Grow((*framed)[:0], d.size), shape)
	r.Data = shape.Compression.compress(*framed)
	return r
}

// framedBytes are buffers for what is compressed at once, of a record's size.
var framedBytes = sync.Pool{New: func() any { return new([]byte) }}

// frame appends the record's events: one key's in their order, each on its own line where lines are asked
// for.
func (d *draft) frame(dst []byte, shape *Shape) []byte {
	if shape.Framing == FramingKPL {
		return d.frameKPL(dst, shape)
	}
	for _, g := range d.groups {
		for _, e := range g.events {
			dst = shape.appendEvent(dst, e)
			if shape.Framing == FramingLines {
				dst = append(dst, '\n')
			}
		}
	}
	return dst
}

func (d *draft) frameKPL(dst []byte, shape *Shape) []byte {
	groups, payloads := make([]kpl.Group, len(d.groups)), make([][]byte, 0, d.events)
	for i, g := range d.groups {
		for _, e := range g.events {
			data := e.Data
			if shape.Envelope != nil {
				data = shape.Envelope.Append(nil, e)
			}
			payloads = append(payloads, data)
		}
		groups[i] = kpl.Group{Key: g.key, Payloads: payloads[len(payloads)-len(g.events):]}
	}
	return kpl.Append(dst, groups)
}
