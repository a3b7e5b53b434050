package shipper

import (
	"cmp"
	"slices"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/catchup"
	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/shipper/internal/sizing"
	"github.com/standpipe/standpipe/wal"
)

const (
	// minBatch is the number of bytes that a batch may have, however small the bandwidth is.
	minBatch = 32 << 10
	// longRequest is longer than a request takes on a slow link.
	longRequest = 15 * time.Second
	// windowPause is the time between two looks at lanes that wait for those of requests under way.
	windowPause = time.Second
)

// batcher forms batches from the lanes' queues. It is used by Run's goroutine alone.
type batcher struct {
	sink      Sink
	lanes     *lanes
	maxDelay  time.Duration
	bandwidth *bandwidth
	pacer     *pace.Pacer // nil: no rate is kept to
	builder   pack.Builder
	ratio     pack.Ratio   // of compressed records
	ceiling   pace.Ceiling // of requests that something on the way rejected for their size
	sizer     sizing.Sizer
	first     int   // the lane that the next batch begins with
	ordered   []int // of order; kept for its memory
	formed    int   // bytes of the ready lanes when a batch was last formed that has to wait; 0: none has
}

// next returns a batch that is worth a request now, or the time until one may be. more means that a read is under way.
func (b *batcher) next(now time.Time, d demand, more bool) (*pack.Batch, time.Duration) {
	for {
		// Which lanes may go, how much do they hold, and has one of their events waited long enough?
		wake, ready, due, oldest := backoff.Forever, 0, d.finishing || d.retrying, time.Time{}
		for _, l := range b.lanes.all {
			if !l.busy {
				wake = min(wake, l.left(now))
			}
			if !l.ready(now) {
				continue
			}
			ready += l.bytes
			due = due || l.failures != nil
			if since := l.since(); oldest.IsZero() || since.Before(oldest) {
				oldest = since
			}
		}
		if ready == 0 {
			return nil, wake
		}
		shape := b.shape()
		patience := b.maxDelay - now.Sub(oldest)
		due = due || patience <= 0 || shape.OneKeyed() && ready >= min(shape.Aim(), b.lanes.memory/2)
		if !due && shape.RecordEvents != 1 && (ready < shape.AimRecord || b.tooEarly(&shape, ready)) {
			return nil, min(wake, patience)
		}

		// A batch that is neither due nor large enough has only the lanes that gain nothing by waiting.
		batch, alone := b.form(&shape, now, d.retrying, wal.AllLanes)
		ripe := due || alone || b.large(&shape, batch) || b.crowded(&shape)
		if !ripe && !batch.Paced() {
			b.formed = ready
			if more { // the read brings events that may join
				return nil, min(wake, patience)
			}
			batch, alone = b.form(&shape, now, d.retrying, b.spent(&shape, batch, now))
		}
		if batch.Paced() { // the lanes that are due may not be those that may send: look again, without the others
			continue
		}
		if !d.finishing && !d.retrying && !alone {
			b.align(batch, now, due)
			if due && batch.Empty() { // the lane that is due is a suspect, whose turn comes next
				batch, _ = b.form(&shape, now, d.retrying, wal.AllLanes)
			}
		}
		if batch.Empty() {
			if patience <= 0 { // requests under way have all events of the window
				patience = windowPause
			}
			return nil, min(wake, patience)
		}
		b.formed = 0
		return batch, 0
	}
}

// enough returns the bytes of events below which no batch is worth a request before it is due; 0: any number may be.
func (b *batcher) enough() int {
	shape := b.sink.Shape()
	switch n := min(shape.AimRecord, b.lanes.memory/2); {
	case shape.RecordEvents == 1:
		return 0
	case shape.OneKeyed():
		return min(n, shape.Aim())
	default:
		return n
	}
}

// gathers reports whether waiting events make records of a key larger instead of more. A request then holds as many keys as
// records, so their number is no reason to send it.
func gathers(shape *Shape) bool {
	return shape.OneKey && !shape.OneKeyed() && shape.RecordEvents != 1
}

// tooEarly reports whether a batch that had to wait would still have to: little was added since it was formed.
func (b *batcher) tooEarly(shape *Shape, ready int) bool {
	return gathers(shape) && b.formed > 0 && ready >= b.formed && ready-b.formed < shape.AimRecord/2 && !b.crowded(shape)
}

// large reports whether a batch is worth a request before it is due.
func (b *batcher) large(shape *Shape, batch *pack.Batch) bool {
	full := batch.Full() && (!gathers(shape) || batch.Len() < shape.BatchRecords)
	return full || batch.Size() >= shape.Aim()
}

// crowded reports whether memory is too short to wait. Where records gather events, a part of it stays free, so that reads
// and requests go on side by side.
func (b *batcher) crowded(shape *Shape) bool {
	if gathers(shape) {
		return b.lanes.held >= b.lanes.memory/4*3
	}
	return b.lanes.full()
}

// form puts those of set that are ready into a batch, beginning with another lane each time. A suspect goes alone.
func (b *batcher) form(shape *Shape, now time.Time, retrying bool, set wal.LaneSet) (batch *pack.Batch, alone bool) {
	shards := b.shards() // one look: the records' map is that of their paces
	if b.pacer != nil {
		b.pacer.Begin(now, shards)
	}
	batch = b.builder.New(*shape, b.pacer, shards, &b.ratio)
	defer batch.Seal()
	end := b.window(shape, now)
	for _, index := range b.order(shape, now, retrying, end < noOffset) {
		l := b.lanes.all[index]
		if !l.ready(now) || set&l.set == 0 || l.suspect > 0 && !batch.Empty() {
			continue
		}
		most := l.suspect
		if most == 0 && l.failures != nil && end < noOffset { // its requests would take the link from the others
			most = 1
		}
		retry := batch.Add(pack.Lane{Index: index, Queue: l.queue, Limit: min(l.limit(), end), MaxEvents: most})
		if !retry.IsZero() {
			l.pacing = backoff.Delay{Until: retry, Why: backoff.OutOfTokens}
		}
		if l.suspect > 0 && !batch.Empty() {
			return batch, true
		}
		if shape.OneKeyed() && !batch.Empty() {
			break
		}
	}
	return batch, false
}

// order returns the lanes in the order in which a batch takes them, and then their twins. On a slow link those that are furthest
// behind go first.
func (b *batcher) order(shape *Shape, now time.Time, retrying, slow bool) []int {
	first, n := b.firstLane(shape, now, retrying), len(b.lanes.old())
	b.ordered = b.ordered[:0]
	for i := range b.lanes.all {
		b.ordered = append(b.ordered, i-i%n+(first+i)%n)
	}
	if slow && !retrying {
		slices.SortStableFunc(b.ordered, func(i, j int) int { return cmp.Compare(b.lanes.all[i].head(), b.lanes.all[j].head()) })
	}
	return b.ordered
}

// window returns the offset at which all lanes stop where the link or bandwidth makes requests small, so that they stay together. The events
// below it are enough for the requests under way and the next one. A lane that fails, or whose request takes long, holds up no other.
func (b *batcher) window(shape *Shape, now time.Time) uint64 {
	bounds := b.sizer.Bounds()
	if !bounds && shape.MaxBatch >= b.ceiling.Lower(b.sink.Shape().MaxBatch) {
		return noOffset
	}
	queues := make([][]wal.Event, 0, len(b.lanes.all))
	for _, l := range b.lanes.all {
		if l.failures == nil && (l.ready(now) || l.underWay(now) || l.twin != nil && l.twin.underWay(now)) {
			queues = append(queues, l.queue)
		}
	}
	batches := 3.125 // of two requests
	if bounds || b.lanes.catchingUp() {
		batches = 1.125
	}
	return catchup.Window(queues, int(batches*float64(shape.MaxBatch)*max(b.ratio.Value(), 1)))
}

// firstLane returns the lane that a batch begins with. Where a request may not have room for all keys, that is the lane that
// has waited longest, and the others go on gathering events. While all requests fail it is another each time, so that the
// failure of one lane is not taken for the destination's.
func (b *batcher) firstLane(shape *Shape, now time.Time, retrying bool) int {
	if !shape.OneKeyed() && !gathers(shape) || retrying {
		return b.first
	}
	oldest := b.first
	for i, l := range b.lanes.all {
		if l.ready(now) && (!b.lanes.all[oldest].ready(now) || l.since().Before(b.lanes.all[oldest].since())) {
			oldest = i
		}
	}
	return oldest
}

// sent notes that the last batch goes out: its tokens are spent, and the next batch begins with another lane.
func (b *batcher) sent() {
	b.first = (b.first + 1) % len(b.lanes.old())
	if b.pacer != nil {
		b.pacer.Spend()
	}
}

// shape returns the sink's shape with smaller batches where the link is slow, or something on the way rejects large
// requests.
func (b *batcher) shape() Shape {
	shape := b.sink.Shape()
	shape.Widen(&b.ratio)
	if most := b.sizer.Lower(b.ceiling.Lower(shape.MaxBatch)); most < shape.MaxBatch {
		shape.MaxBatch = most
		shape.AimBatch = min(shape.Aim(), most)
	}
	b.bandwidth.limit(&shape)
	return shape
}

// spent returns the lanes that gain nothing by waiting: their records are full, or they may hold no more in memory. A full
// record by shard goes out whole, so with all of its lanes.
func (b *batcher) spent(shape *Shape, batch *pack.Batch, now time.Time) (set wal.LaneSet) {
	full := make(map[int]bool) // records by shard
	for i := range batch.Shares() {
		s := &batch.Shares()[i]
		if l := b.lanes.all[s.Lane]; s.Full || l.bytes >= b.lanes.laneLimit(now, l) {
			set |= l.set
			if shape.ByShard {
				s.AddRecords(full)
			}
		}
	}
	for i := range batch.Shares() {
		if s := &batch.Shares()[i]; len(full) > 0 && s.InRecords(full) {
			set |= b.lanes.all[s.Lane].set
		}
	}
	return set
}

// align leaves the events that barely begin a billed step for the next batch. A batch that is due leaves only events that
// are young, so that the next is not due much sooner; and it may leave whole records of those. Any other batch is followed
// by the next at once.
func (b *batcher) align(batch *pack.Batch, now time.Time, due bool) {
	young := b.maxDelay / 2
	batch.Align(due, func(lane int, e *wal.Event) bool {
		l := b.lanes.all[lane]
		return l.failures == nil && len(l.progress.Settled) == 0 && (!due || now.Sub(l.arrived.Of(e.Offset)) <= young)
	})
}

// shards returns the sink's shards as far as they are known, or nil.
func (b *batcher) shards() *ShardMap {
	if sharded, ok := b.sink.(Sharded); ok {
		return sharded.Shards()
	}
	return nil
}
