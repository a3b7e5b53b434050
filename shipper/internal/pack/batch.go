package pack

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// maxPassed bounds the events that are searched for those of one key. While the lane has not caught up, its progress
// has to list the settled events between the others.
const maxPassed = 128

// Builder makes batches one after the other. It keeps the memory that a batch needs while it is formed.
type Builder struct {
	runs map[string]*keyRun // empty between batches
}

// Lane is the part of a lane that a batch may take from.
type Lane struct {
	Index     int         // returned in Share.Lane
	Queue     []wal.Event // unsettled, ascending
	Limit     uint64      // events at or after this offset stay
	MaxEvents int         // the batch takes at most so many; 0: no limit
}

// Share is one lane's part of a batch: the first events of its queue. An event that the batch passed over, since it has
// another key than the batch, is among them and stays in the queue.
type Share struct {
	Lane   int
	Events []wal.Event
	// Full is set when the limits of its records ended it: it gains nothing by waiting.
	Full bool

	runs []*keyRun // of each event; nil: passed over
}

// Record returns the index of the record that holds event i, or -1 if it was passed over.
func (s *Share) Record(i int) int {
	if s.runs[i] == nil {
		return -1
	}
	return s.runs[i].record
}

// AddRecords adds the indexes of the share's records to a set.
func (s *Share) AddRecords(set map[int]bool) {
	for _, run := range s.runs {
		if run != nil {
			set[run.record] = true
		}
	}
}

// InRecords reports whether a record of the set has an event of the share.
func (s *Share) InRecords(set map[int]bool) bool {
	return slices.ContainsFunc(s.runs, func(run *keyRun) bool { return run != nil && set[run.record] })
}

// DropBelow takes the events below offset out of the share: they were dropped while the request did not return.
func (s *Share) DropBelow(offset uint64) {
	n := 0
	for n < len(s.Events) && s.Events[n].Offset < offset {
		n++
	}
	s.Events, s.runs = s.Events[n:], s.runs[n:]
}

// Batch is one request: records of as many lanes as fit.
type Batch struct {
	shape  Shape
	shares []Share
	drafts []*draft
	runs   map[string]*keyRun // by runKey, until Seal
	size   int                // of all records, with their keys where those count
	events int
	full   bool // a limit of requests was met: nothing can be added

	shards  *pace.ShardMap // set where records are by shard
	ofShard map[int]int    // the index of each shard's last record

	pacer   *pace.Pacer // nil: none
	ratio   float64     // expected framed bytes for each sent byte
	blocked *pace.Pace  // the pace that rejected the last event
	paced   bool        // a ready lane gave nothing because its pace has no tokens yet
}

// New returns an empty batch. It must be sealed before the next one. pacer is nil if there is no rate limit; shards is
// nil if they are unknown.
func (bu *Builder) New(shape Shape, pacer *pace.Pacer, shards *pace.ShardMap, ratio *Ratio) *Batch {
	if bu.runs == nil {
		bu.runs = make(map[string]*keyRun)
	}
	b := &Batch{shape: shape, runs: bu.runs, pacer: pacer, ratio: max(ratio.Value(), 1)}
	if shards != nil && shape.ByShard && shape.Framing == FramingKPL {
		b.shards, b.ofShard = shards, make(map[int]int)
	}
	return b
}

// Seal ends the forming of the batch.
func (b *Batch) Seal() { clear(b.runs) }

// Shape returns the shape that the batch was made for.
func (b *Batch) Shape() *Shape { return &b.shape }

// Shares returns the lanes' parts.
func (b *Batch) Shares() []Share { return b.shares }

// Empty reports whether the batch has no events.
func (b *Batch) Empty() bool { return len(b.shares) == 0 }

// Size returns the bytes of all records before compression, with their keys where those count.
func (b *Batch) Size() int { return b.size }

// Events returns the number of events in the batch's records.
func (b *Batch) Events() int { return b.events }

// Len returns the number of records.
func (b *Batch) Len() int { return len(b.drafts) }

// Full reports whether a limit of requests was met.
func (b *Batch) Full() bool { return b.full }

// Paced reports whether a lane gave nothing because its pace has no tokens yet.
func (b *Batch) Paced() bool { return b.paced }

// FramedSize returns the size of record i before compression, without its key.
func (b *Batch) FramedSize(i int) int { return b.drafts[i].size }

// RecordEvents returns the number of events in record i.
func (b *Batch) RecordEvents(i int) int { return b.drafts[i].events }

// CountedSize returns the bytes of record i that the service will count, with the expected compression.
func (b *Batch) CountedSize(i int) int {
	d := b.drafts[i]
	n := d.size
	if b.shape.Compression != Plain {
		n = b.sent(n)
	}
	return n + b.shape.keyCost(d.runs[0].key)
}

// Sample returns record i for the pacer, without a result. r is the finished record.
func (b *Batch) Sample(i int, r *Record) pace.Sample {
	s := pace.Sample{Part: b.drafts[i].part, Load: pace.Load{Bytes: float64(b.shape.Counted(r)), Records: 1}}
	for _, run := range b.drafts[i].runs {
		s.Lanes |= 1 << run.events[0].Lane
	}
	return s
}

// maxEvents bounds the events of a batch whose records hold at most RecordEvents each, so that they fit its records
// however the runs are distributed.
func (s *Shape) maxEvents() int {
	if s.RecordEvents == 0 || s.OneKey {
		return 1 << 30
	}
	return s.RecordEvents * max(s.BatchRecords/2-1, 1)
}

// Add adds as much of the front of l's queue as fits. If the lane gave nothing because a pace has no tokens, retry is
// the time at which the pace has some; otherwise it is zero.
func (b *Batch) Add(l Lane) (retry time.Time) {
	s := Share{Lane: l.Index}
	for i := range l.Queue {
		e := &l.Queue[i]
		if e.Offset >= l.Limit || l.MaxEvents > 0 && i >= l.MaxEvents {
			break
		}
		if b.passes(e) && i < maxPassed {
			s.runs = append(s.runs, nil)
			continue
		}
		run := b.addEvent(e)
		if run == nil {
			s.Full = !b.full && b.blocked == nil
			break
		}
		s.runs = append(s.runs, run)
	}
	if b.shape.OneKeyed() && len(b.drafts) > 0 && !b.takesEvent(b.drafts[0], 0) {
		s.Full = true
	}
	for n := len(s.runs); n > 0 && s.runs[n-1] == nil; n-- {
		s.runs = s.runs[:n-1]
	}
	if len(s.runs) == 0 {
		if b.blocked != nil {
			retry = b.blocked.Opens()
			b.paced = b.paced || retry.After(b.pacer.Now())
		}
		return retry
	}
	s.Events = l.Queue[:len(s.runs)]
	b.shares = append(b.shares, s)
	return retry
}

// passes reports whether e has another key than the one that the batch carries.
func (b *Batch) passes(e *wal.Event) bool {
	return b.shape.OneKeyed() && len(b.drafts) > 0 && b.drafts[0].runs[0].key != e.Key && b.takesEvent(b.drafts[0], 0)
}

// addEvent adds e, if its part and its lane have tokens and it fits, and returns its run. Otherwise it returns nil;
// then blocked is the pace without tokens, or nil if e does not fit.
func (b *Batch) addEvent(e *wal.Event) *keyRun {
	run := b.runs[b.shape.runKey(e)]
	if b.blocked = nil; b.pacer == nil {
		return b.fit(run, e)
	}
	part, lane := b.partOf(run, e), b.pacer.Lane(e.Lane)
	n := b.sent(len(e.Data) + b.shape.keyCost(e.Key))
	switch {
	case !part.Allows(n):
		b.blocked = part
		return nil
	case !lane.Allows(n):
		b.blocked = lane
		return nil
	}
	size, records := b.size, len(b.drafts)
	if run = b.fit(run, e); run != nil {
		b.drafts[run.record].part = part
		n, records := b.sent(b.size-size), len(b.drafts)-records
		b.pacer.Plan(part, n, records)
		b.pacer.Plan(lane, n, records)
	}
	return run
}

// sent returns the expected number of sent bytes for framed bytes.
func (b *Batch) sent(framed int) int { return int(float64(framed) / b.ratio) }

// partOf returns the pace of the part that e belongs to; nil: none. run is e's, or nil.
func (b *Batch) partOf(run *keyRun, e *wal.Event) *pace.Pace {
	if run != nil {
		return b.drafts[run.record].part
	}
	return b.pacer.Part(e.Key)
}

// fit puts e into run, the last one of its key, or into a new one if that is allowed.
func (b *Batch) fit(run *keyRun, e *wal.Event) *keyRun {
	if b.events >= b.shape.maxEvents() {
		b.full = true
		return nil
	}
	switch {
	case run == nil:
		run = b.newRun(e)
	case b.fitsRun(run, e):
	case b.shape.WholeOrder, b.shape.AnyOrder, b.shape.KeyRuns:
		run = b.newRun(e)
	case b.movable(run):
		b.move(run, e)
	default:
		return nil
	}
	if run != nil {
		b.put(run, e)
	}
	return run
}

func (s *Shape) runKey(e *wal.Event) string {
	if s.WholeOrder {
		return ""
	}
	return e.Key
}

// addedSize returns the bytes that e adds to d as an event of the run with that index. The index after the last is for
// a new run.
func (b *Batch) addedSize(d *draft, index int, e *wal.Event) int {
	if b.shape.Framing != FramingKPL {
		return b.shape.lineSize(e)
	}
	with := d.sizer
	if index > 0 && index == len(d.runs) {
		with.AddKey(len(e.Key))
	}
	b.count(&with, index, e)
	return with.Size() - d.size
}

// count counts e in a record of KPL's format, as an event of the key with that index.
func (b *Batch) count(sizer *kpl.Sizer, index int, e *wal.Event) {
	if b.shape.Envelope == nil {
		sizer.Add(index, e.Data)
		return
	}
	sizer.AddSize(index, b.shape.Envelope.Size(e))
}

// lineSize returns the bytes of e where it is not in KPL's format.
func (s *Shape) lineSize(e *wal.Event) int {
	if s.Framing == FramingLines {
		return s.eventSize(e) + s.newline()
	}
	return s.eventSize(e)
}

// fitsRun reports whether e fits the record of its run.
func (b *Batch) fitsRun(run *keyRun, e *wal.Event) bool {
	d := b.drafts[run.record]
	more := b.addedSize(d, run.index, e)
	if b.exceeds(more, len(b.drafts)) {
		b.full = true
		return false
	}
	return d.size+more <= b.shape.aim(d.runs[0].key) && b.takesEvent(d, more)
}

// exceeds reports whether that many records, with more bytes than the batch has, might exceed MaxBatch.
func (b *Batch) exceeds(more, records int) bool {
	return b.size+more+b.shape.Compression.overheads(records, b.shape.MaxBatch) > b.shape.MaxBatch
}

// takesEvent reports whether d takes an event that adds more bytes. Near the limit of events in a record, it rejects an
// event that begins a billed step which the remaining ones could not fill.
func (b *Batch) takesEvent(d *draft, more int) bool {
	left, step := b.shape.recordEvents()-d.events, b.shape.BilledStep
	if left <= 0 || b.shape.RecordEvents == 0 || d.events == 0 || step <= 1 || b.shape.Compression != Plain {
		return left > 0
	}
	size := b.counted(d)
	begins := (size+more-1)/step > (size-1)/step
	return !begins || size < step || left*(size/d.events) >= step/8*7
}

// minLeft is the number of billed steps that a record has to keep when a run is moved out of it.
const minLeft = 4

// movable reports whether run, which no longer fits the record that it shares, should move to another record. It should
// not if it leaves little behind, because then it nearly fills the record by itself.
func (b *Batch) movable(run *keyRun) bool {
	if b.shape.Framing == FramingKPL { // sizes don't add up there
		return false
	}
	left := b.drafts[run.record].size - run.size
	return !b.full && left > 0 && left >= minLeft*b.shape.BilledStep && len(b.drafts) < b.shape.BatchRecords
}

// move moves run out of its record: into the last record if that has room for run and e, otherwise into a new one.
func (b *Batch) move(run *keyRun, e *wal.Event) {
	from := b.drafts[run.record]
	from.runs = slices.DeleteFunc(from.runs, func(other *keyRun) bool { return other == run })
	from.size -= run.size
	from.events -= len(run.events)
	last := b.drafts[len(b.drafts)-1]
	if last == from || last.size+run.size+b.shape.lineSize(e) > b.shape.aim(run.key) || last.events+len(run.events)+1 > b.shape.recordEvents() {
		last = &draft{}
		b.drafts = append(b.drafts, last)
	}
	run.record = len(b.drafts) - 1
	last.runs = append(last.runs, run)
	last.size += run.size
	last.events += len(run.events)
}

// recordEvents returns the number of events that a record may hold.
func (s *Shape) recordEvents() int { return cmp.Or(s.RecordEvents, math.MaxInt) }

// aim returns the framed bytes to fill a record to: a whole number of billed steps, unless the billed size is unknown.
func (s *Shape) aim(key string) int {
	cost := s.keyCost(key)
	most := s.framedMost() - cost
	if s.AimRecord > 0 {
		most = min(most, s.AimRecord)
	}
	if s.Compression != Plain {
		return most
	}
	if over := (most + cost) % max(s.BilledStep, 1); over < most {
		most -= over
	}
	return most
}

func (s *Shape) keyCost(key string) int {
	if s.KeyCounts {
		return len(key)
	}
	return 0
}

// counted returns the bytes of d that the service counts.
func (b *Batch) counted(d *draft) int { return d.size + b.shape.keyCost(d.runs[0].key) }

// newRun starts a run for e, in a record that it may share, otherwise in a new one. It returns nil if there is no room.
func (b *Batch) newRun(e *wal.Event) *keyRun {
	run := &keyRun{key: b.shape.runKey(e)}
	run.events = run.one[:0]
	if i := b.shareable(e); i >= 0 && b.fitsShared(b.drafts[i], e) {
		b.join(run, i)
		return run
	}
	d := &draft{sizer: kpl.NewSizer(len(e.Key))}
	size := b.addedSize(d, 0, e) + b.shape.keyCost(e.Key)
	if len(b.drafts) >= b.shape.BatchRecords || len(b.drafts) > 0 && b.exceeds(size, len(b.drafts)+1) {
		b.full = true
		return nil
	}
	b.drafts = append(b.drafts, d)
	b.size += b.shape.keyCost(e.Key)
	b.join(run, len(b.drafts)-1)
	if b.shards != nil {
		b.ofShard[b.shards.Find(e.Key)] = run.record
	}
	return run
}

// shareable returns the index of the record that a new key's events may share, or -1.
func (b *Batch) shareable(e *wal.Event) int {
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

// fitsShared reports whether d, a record of other keys, has room for the first event of one more.
func (b *Batch) fitsShared(d *draft, e *wal.Event) bool {
	more := b.addedSize(d, len(d.runs), e)
	return d.size+more <= b.shape.aim(d.runs[0].key) && !b.exceeds(more, len(b.drafts)) && b.takesEvent(d, more)
}

// join adds run to a record.
func (b *Batch) join(run *keyRun, record int) {
	d := b.drafts[record]
	run.record, run.index = record, len(d.runs)
	if run.index > 0 {
		d.sizer.AddKey(len(run.key))
	}
	d.runs = append(d.runs, run)
	b.runs[run.key] = run
}

func (b *Batch) put(run *keyRun, e *wal.Event) {
	d := b.drafts[run.record]
	more := b.addedSize(d, run.index, e)
	if b.shape.Framing == FramingKPL {
		b.count(&d.sizer, run.index, e)
	}
	run.events = append(run.events, e)
	run.size += more
	d.size += more
	d.events++
	b.size += more
	b.events++
}

// Misrouted reports whether a consumer discards record i, with that data, when it lies in the shard with that ID.
// newest is the newest map. Without one, a record of several keys is valid only in the shard that it was made for; one
// of a single key always lies in its key's shard, however the stream was resharded. A record that is not aggregated is
// never discarded. (AggregatorUtil.deaggregate of the KCL 3.5.1 discards an aggregated record whole, also the events
// whose keys do belong to the shard.)
func (b *Batch) Misrouted(i int, data []byte, id string, newest *pace.ShardMap) bool {
	if id == "" || !bytes.HasPrefix(data, []byte(kpl.Magic)) {
		return false
	}
	d := b.drafts[i]
	switch {
	case b.shards != nil && b.shards.Shard(b.shards.Find(d.runs[0].key)).ID == id:
		return false
	case newest == nil:
		return len(d.runs) > 1
	}
	return slices.ContainsFunc(d.runs, func(run *keyRun) bool { return !newest.Holds(id, run.key) })
}
