package shipper

import (
	"context"
	"time"

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
	wake := time.Hour
	for len(s.flights) < s.window && !s.halting {
		if s.trouble != nil {
			if now.Before(s.trouble.until) {
				return s.trouble.until.Sub(now)
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
		var ok bool
		if b.charged, ok = s.bandwidth.reserve(b.size); !ok {
			return wake
		}
		s.send(ctx, b)
	}
	return wake
}

// nextBatch returns a batch that is worth a request now, or the time until one will be.
func (s *Shipper) nextBatch(now time.Time) (*batch, time.Duration) {
	wake := time.Hour
	ready := 0
	var oldest time.Time
	due := s.finishing || s.trouble != nil
	for _, l := range s.lanes {
		if l.trouble != nil && !l.busy && l.waits(now) {
			wake = min(wake, l.trouble.until.Sub(now))
		}
		if !l.busy && now.Before(l.paced) { // also one that is to be read again then
			wake = min(wake, l.paced.Sub(now))
		}
		if !l.ready(now) {
			continue
		}
		ready += l.bytes
		due = due || l.trouble != nil
		if since := l.since(); oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	if ready == 0 {
		return nil, wake
	}
	shape := s.shape()
	patience := s.opts.MaxDelay - now.Sub(oldest)
	due = due || patience <= 0 || shape.oneKeyed() && ready >= min(aimBatch(&shape), s.opts.Memory/2)
	if !due && ready < shape.AimRecord && shape.RecordEvents != 1 {
		return nil, min(wake, patience)
	}
	b := s.form(shape, now, wal.AllLanes)
	if ripe := due || b.full || b.alone || b.size >= aimBatch(&shape) || s.full(); !ripe && !b.waited {
		if s.reading { // what it brings is company
			return nil, min(wake, patience)
		}
		b = s.form(shape, now, b.spent(func(l *lane) bool { return l.bytes >= s.laneMemory(now, l) }))
	}
	if b.waited { // the lanes that are due may not be those that may send
		return s.nextBatch(now)
	}
	if !s.finishing && s.trouble == nil && !b.alone {
		b.trim(now, due, s.opts.MaxDelay/2)
		if due && len(b.shares) == 0 { // the lane that is due is a suspect, whose turn comes next
			b = s.form(shape, now, wal.AllLanes)
		}
	}
	if len(b.shares) == 0 {
		return nil, min(wake, max(patience, 0))
	}
	return b, 0
}

// shape is the sink's, with smaller batches while requests time out: a link may be too slow for a
// whole one within the time that a request has.
func (s *Shipper) shape() Shape {
	shape := s.opts.Sink.Shape()
	shape.widen(s.ratio.value())
	if s.squeeze > 0 {
		shape.MaxBatch = min(shape.MaxBatch, max(shape.MaxBatch>>s.squeeze, leastBatch))
		shape.AimBatch = min(shape.AimBatch, shape.MaxBatch)
	}
	s.bandwidth.limit(&shape)
	if most := s.ceiling.Lower(shape.MaxBatch); most < shape.MaxBatch {
		shape.MaxBatch = most
		shape.AimBatch = min(aimBatch(&shape), most)
	}
	return shape
}

const (
	leastBatch = 32 << 10
	mostHalved = 8
)

func aimBatch(shape *Shape) int {
	if shape.AimBatch > 0 {
		return shape.AimBatch
	}
	return shape.MaxBatch
}

// form puts those of lanes that are ready into a batch, beginning with another lane each time. A
// suspect goes alone.
func (s *Shipper) form(shape Shape, now time.Time, lanes wal.LaneSet) *batch {
	shards := s.shards() // one look: the records' map is that of their paces
	if s.pacer != nil {
		s.pacer.Begin(now, shards)
	}
	if s.groups == nil {
		s.groups = make(map[string]*group)
	}
	b := newBatch(shape, s.pacer, s.groups)
	b.shrink = max(s.ratio.value(), 1)
	b.byShard(shards)
	first := s.firstLane(&shape, now)
	for i := range s.lanes {
		l := s.lanes[(first+i)%len(s.lanes)]
		if !l.ready(now) || lanes&l.set == 0 || l.suspect > 0 && len(b.shares) > 0 {
			continue
		}
		b.addLane(l)
		if l.suspect > 0 {
			b.alone = true
			break
		}
		if shape.oneKeyed() && len(b.shares) > 0 {
			break
		}
	}
	clear(s.groups)
	return b
}

// firstLane returns the lane that a batch begins with. Where a request carries one key, that is the one
// which has waited longest, so that the others go on gathering company; but in trouble it is another
// each time, lest one lane's trouble be taken for all.
func (s *Shipper) firstLane(shape *Shape, now time.Time) int {
	if !shape.oneKeyed() || s.trouble != nil {
		return s.first
	}
	oldest := s.first
	for i, l := range s.lanes {
		if l.ready(now) && (!s.lanes[oldest].ready(now) || l.since().Before(s.lanes[oldest].since())) {
			oldest = i
		}
	}
	return oldest
}

// send marks the batch's lanes busy and lets a goroutine frame and send it.
func (s *Shipper) send(ctx context.Context, b *batch) {
	for i := range b.shares {
		l := b.shares[i].lane
		l.busy, l.sent = true, len(b.shares[i].events)
	}
	s.first = (s.first + 1) % len(s.lanes)
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{batch: b, started: time.Now(), cancel: cancel}
	s.flights = append(s.flights, f)
	if s.pacer != nil {
		s.pacer.Spend()
	}
	go func() {
		records := b.records()
		started := time.Now()
		ctx, stop := context.WithTimeout(ctx, s.opts.Retry.Timeout)
		defer stop()
		reply := s.opts.Sink.Send(ctx, records)
		s.outcomes <- outcome{flight: f, records: records, reply: reply, started: started, took: time.Since(started)}
	}()
}
