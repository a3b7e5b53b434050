package shipper

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/wal"
)

// outcome is what became of a request.
type outcome struct {
	*flight
	records []Record
	reply   Response
	started time.Time // after the records were made
	took    time.Duration
}

// dispatch sends as many batches as are due and have a free request. It returns the time until the
// next may be.
func (s *Shipper) dispatch(ctx context.Context, now time.Time) time.Duration {
	wake := forever
	for len(s.flights) < s.window && !s.halting {
		if s.failures != nil {
			if s.failures.backingOff(now) {
				return s.failures.delay.left(now)
			}
			if len(s.flights) > 0 {
				return wake // one request tries; the others wait for how it goes
			}
		}
		if s.bandwidth.waiting() {
			return wake
		}
		b, due := s.nextBatch(now)
		if b == nil {
			return due
		}
		charged, ok := s.bandwidth.reserve(b.Size())
		if !ok {
			return wake
		}
		s.send(ctx, b, charged)
	}
	return wake
}

// nextBatch returns a batch that is worth a request now, or the time until one will be.
func (s *Shipper) nextBatch(now time.Time) (*pack.Batch, time.Duration) {
	wake := forever
	ready := 0
	var oldest time.Time
	due := s.finishing || s.failures != nil
	for _, l := range s.lanes.all {
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
	shape := s.shape()
	patience := s.opts.MaxDelay - now.Sub(oldest)
	due = due || patience <= 0 || shape.OneKeyed() && ready >= min(shape.Aim(), s.opts.Memory/2)
	if !due && ready < shape.AimRecord && shape.RecordEvents != 1 {
		return nil, min(wake, patience)
	}
	b, alone := s.form(shape, now, wal.AllLanes)
	if ripe := due || b.Full() || alone || b.Size() >= shape.Aim() || s.lanes.full(); !ripe && !b.Paced() {
		if s.feed.reading { // what it brings is company
			return nil, min(wake, patience)
		}
		b, alone = s.form(shape, now, s.spent(b, now))
	}
	if b.Paced() { // the lanes that are due may not be those that may send
		return s.nextBatch(now)
	}
	if !s.finishing && s.failures == nil && !alone {
		s.align(b, now, due)
		if due && b.Empty() { // the lane that is due is a suspect, whose turn comes next
			b, _ = s.form(shape, now, wal.AllLanes)
		}
	}
	if b.Empty() {
		return nil, min(wake, max(patience, 0))
	}
	return b, 0
}

// shape is the sink's, with smaller batches while requests time out: a link may be too slow for a
// whole one within the time that a request has.
func (s *Shipper) shape() Shape {
	shape := s.opts.Sink.Shape()
	shape.Widen(&s.ratio)
	if s.squeeze > 0 {
		shape.MaxBatch = min(shape.MaxBatch, max(shape.MaxBatch>>s.squeeze, leastBatch))
		shape.AimBatch = min(shape.AimBatch, shape.MaxBatch)
	}
	s.bandwidth.limit(&shape)
	if most := s.ceiling.Lower(shape.MaxBatch); most < shape.MaxBatch {
		shape.MaxBatch = most
		shape.AimBatch = min(shape.Aim(), most)
	}
	return shape
}

const (
	leastBatch = 32 << 10
	mostHalved = 8
)

// spent returns the lanes that gain nothing by waiting: their records are full, or they may hold no more in memory.
func (s *Shipper) spent(b *pack.Batch, now time.Time) (set wal.LaneSet) {
	for i := range b.Shares() {
		sh := &b.Shares()[i]
		if l := s.lanes.all[sh.Lane]; sh.Full || l.bytes >= s.lanes.laneLimit(now, l) {
			set |= l.set
		}
	}
	return set
}

// align leaves the events that barely begin a billed step for the next batch. A batch that is due leaves only events that
// are young, so that the next is not due much sooner; and it may leave whole records of those. Any other batch is followed
// by the next at once.
func (s *Shipper) align(b *pack.Batch, now time.Time, due bool) {
	young := s.opts.MaxDelay / 2
	b.Align(due, func(lane int, e *wal.Event) bool {
		l := s.lanes.all[lane]
		return l.failures == nil && len(l.progress.Settled) == 0 && (!due || now.Sub(l.arrival(e)) <= young)
	})
}

// form puts those of lanes that are ready into a batch, beginning with another lane each time. A
// suspect goes alone.
func (s *Shipper) form(shape Shape, now time.Time, lanes wal.LaneSet) (b *pack.Batch, alone bool) {
	shards := s.shards() // one look: the records' map is that of their paces
	if s.pacer != nil {
		s.pacer.Begin(now, shards)
	}
	b = s.builder.New(shape, s.pacer, shards, &s.ratio)
	defer b.Seal()
	first := s.firstLane(&shape, now)
	for i := range s.lanes.all {
		index := (first + i) % len(s.lanes.all)
		l := s.lanes.all[index]
		if !l.ready(now) || lanes&l.set == 0 || l.suspect > 0 && !b.Empty() {
			continue
		}
		retry := b.Add(pack.Lane{Index: index, Queue: l.queue, Limit: l.limit(), MaxEvents: l.suspect})
		if !retry.IsZero() {
			l.pacing = delay{retry, outOfTokens}
		}
		if l.suspect > 0 {
			return b, true
		}
		if shape.OneKeyed() && !b.Empty() {
			break
		}
	}
	return b, false
}

// firstLane returns the lane that a batch begins with. Where a request carries one key, that is the one
// which has waited longest, so that the others go on gathering company; but in trouble it is another
// each time, lest one lane's trouble be taken for all.
func (s *Shipper) firstLane(shape *Shape, now time.Time) int {
	if !shape.OneKeyed() || s.failures != nil {
		return s.first
	}
	oldest := s.first
	for i, l := range s.lanes.all {
		if l.ready(now) && (!s.lanes.all[oldest].ready(now) || l.since().Before(s.lanes.all[oldest].since())) {
			oldest = i
		}
	}
	return oldest
}

// send marks the batch's lanes busy and lets a goroutine frame and send it.
func (s *Shipper) send(ctx context.Context, b *pack.Batch, charged int) {
	for i := range b.Shares() {
		sh := &b.Shares()[i]
		l := s.lanes.all[sh.Lane]
		l.busy, l.sent = true, len(sh.Events)
	}
	s.first = (s.first + 1) % len(s.lanes.all)
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{batch: b, charged: charged, started: time.Now(), cancel: cancel}
	s.flights = append(s.flights, f)
	if s.pacer != nil {
		s.pacer.Spend()
	}
	go func() {
		records := b.Records()
		started := time.Now()
		ctx, stop := context.WithTimeout(ctx, s.opts.Retry.Timeout)
		defer stop()
		reply := s.opts.Sink.Send(ctx, records)
		s.outcomes <- outcome{flight: f, records: records, reply: reply, started: started, took: time.Since(started)}
	}()
}
