package shipper

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// readBytes is what one read of the log fetches at most.
	readBytes = 1 << 20
	// leastRead is which part of that a read has to have room for.
	leastRead = 16
	// laneShare is which part of a shipper's memory one lane may fill, and one read, which may be of one lane.
	laneShare = 4
	// readWindow is how far apart, in offsets, lanes may stand to be read for together.
	readWindow = 4096
	// Once the log's end is met, the next read waits a little: events wait for company anyway, and to
	// wake for each would cost their producer's commits. This share of MaxDelay, at most so long.
	readPauseShare = 20
	readPauseMax   = 50 * time.Millisecond
	// readAgain is how long a read that failed waits; the log itself has the reason.
	readAgain = time.Second
)

// want asks the reader for the events of some lanes from an offset on. Those at or after until, which
// the same blocks may hold, are of no use.
type want struct {
	from, until uint64
	lanes       wal.LaneSet
	limit       int // bytes
}

// read is what the reader found.
type read struct {
	until uint64
	chunk wal.Chunk
	err   error
}

// readLog is the reader: it waits for the disk so that Run need not. It ends with wants.
func (s *Shipper) readLog() {
	for w := range s.wants {
		chunk, err := s.opts.Source.Read(s.stream, w.from, w.lanes, w.limit)
		var corrupt *wal.CorruptError
		if errors.As(err, &corrupt) {
			err = s.opts.Source.Lose(corrupt, s.stream, chunk.Next)
		}
		s.reads <- read{w.until, chunk, err}
	}
}

// feed asks for more where lanes want it: for the lane that was read for the longest time ago, and
// for those that stand near it. So a lane that is far behind and one at the end take turns.
// It returns the time until it has to be called again.
func (s *Shipper) feed(now time.Time) time.Duration {
	if s.reading {
		return time.Hour
	}
	if now.Before(s.readAt) {
		return s.readAt.Sub(now)
	}
	// What is to be dropped is read first, to be counted: that needs no memory.
	if s.ask(want{until: s.floor.Offset(), limit: readBytes}, func(l *lane) bool { return l.next < s.floor.Offset() && !l.holds() }) {
		return time.Hour
	}
	if !s.finishing {
		s.throttle.update(now, s.opts.Source.Flow(), s.opts.Source.Appended(s.stream).Bytes)
		if wait := s.throttle.wait(); wait > 0 {
			return wait
		}
	}
	end, room := s.opts.Source.Next(s.stream), s.room(now)
	if room > 0 {
		// Those that wait for their pace come after those that could send: their events would fill the room,
		// be forgotten for the others' sake, and be read again, for ever.
		starved := s.starved(now)
		s.ask(want{until: math.MaxUint64, limit: min(room, readBytes, s.opts.Memory/laneShare)}, func(l *lane) bool {
			return l.next < end && !l.waits(now) && l.bytes < s.laneMemory(now, l) && !(starved && now.Before(l.paced))
		})
	}
	return time.Hour
}

// ask sends w to the reader for the hungry lane that was served longest ago, and for the hungry ones
// near it. It returns false when none is hungry.
func (s *Shipper) ask(w want, hungry func(*lane) bool) bool {
	var first *lane
	for _, l := range s.lanes {
		if hungry(l) && (first == nil || l.served < first.served || l.served == first.served && l.next < first.next) {
			first = l
		}
	}
	if first == nil {
		return false
	}
	s.turn++
	for _, l := range s.lanes {
		if hungry(l) && l.next >= first.next && l.next-first.next <= readWindow {
			l.reading, l.served = true, s.turn
			w.lanes |= l.set
		}
	}
	w.from = first.next
	s.reading = true
	s.wants <- w
	return true
}

// room returns the bytes that may be read now. While the destination takes nothing at all, a
// request's worth is enough to try with, and what was held before is forgotten.
func (s *Shipper) room(now time.Time) int {
	if s.trouble != nil && s.trouble.times > 1 {
		worth := min(readBytes, s.opts.Memory)
		if s.held > 2*worth {
			s.forget(func(*lane) bool { return true })
		}
		if s.held > worth/2 {
			return 0
		}
		return worth - s.held
	}
	if s.full() {
		s.forget(func(l *lane) bool { return l.waits(now) })
	}
	if s.full() && s.starved(now) {
		s.forget(func(l *lane) bool { return now.Before(l.paced) })
	}
	if s.full() {
		return 0
	}
	return s.opts.Memory - s.held
}

// full tells whether what may still be held is not worth a read: a sip of a few events costs as much as a
// whole one, and there would be one after another.
func (s *Shipper) full() bool { return s.opts.Memory-s.held < min(readBytes, s.opts.Memory)/leastRead }

// starved tells whether a lane that could send has nothing to send.
func (s *Shipper) starved(now time.Time) bool {
	end := s.opts.Source.Next(s.stream)
	return slices.ContainsFunc(s.lanes, func(l *lane) bool {
		return len(l.queue) == 0 && l.next < end && !l.waits(now) && !now.Before(l.paced)
	})
}

// laneMemory is what one lane may hold, so that a busy one leaves room for the others, and one that
// waits for its shard or is in trouble even more: what it reads may well be forgotten again. Were the one that
// waits read for while room is short, it would be forgotten for a starved one and read for again at once.
func (s *Shipper) laneMemory(now time.Time, l *lane) int {
	switch {
	case s.whole:
		return s.opts.Memory
	case now.Before(l.paced) && s.held > s.opts.Memory/2:
		return 0
	case now.Before(l.paced), l.trouble != nil:
		return s.opts.Memory / wal.Lanes
	}
	return s.opts.Memory / laneShare
}

// forget frees what the stuck lanes hold and no request does.
func (s *Shipper) forget(stuck func(*lane) bool) {
	for _, l := range s.lanes {
		if stuck(l) {
			s.held -= l.forget()
		}
	}
}

// took hands what was read to the lanes.
func (s *Shipper) took(r read) {
	s.reading = false
	if r.err != nil {
		s.readFailed(r.err)
		return
	}
	now := time.Now()
	s.moving(now)
	since := s.arrived(now, r.chunk.End)
	dropped := make(drops)
	for i := range r.chunk.Events {
		e := &r.chunk.Events[i]
		s.throttle.read(len(e.Data))
		l := s.laneOf(e)
		if !l.reading || e.Offset < l.next || e.Offset >= r.until || s.start[e.Lane].Done(e.Offset) || l.mark.Done(e.Offset) {
			continue
		}
		if e.Offset < s.floor.Offset() && !l.holds() {
			dropped.add(e, s.floor)
			continue
		}
		l.take(*e, since)
		s.held += e.Memory()
	}
	for _, l := range s.lanes {
		if l.reading {
			l.next, l.reading = max(l.next, min(r.chunk.Next, r.until)), false
		}
	}
	s.countDropped(dropped)
}

// readPause is how long the next read waits once the log's end was met.
func (o *Options) readPause() time.Duration { return min(o.MaxDelay/readPauseShare, readPauseMax) }

// arrived returns when what was just read may have been appended, as far back as the pause that
// the read had to wait, and sets the next pause.
func (s *Shipper) arrived(now time.Time, end bool) time.Time {
	pause := s.opts.readPause()
	since := now.Add(-pause)
	if since.Before(s.caughtUp) {
		since = s.caughtUp
	}
	if end {
		s.caughtUp = now
		if !s.finishing {
			s.readAt = now.Add(pause)
		}
	}
	return since
}

func (s *Shipper) readFailed(err error) {
	for _, l := range s.lanes {
		l.reading = false
	}
	s.readAt = time.Now().Add(readAgain)
	if stopped(err) {
		return
	}
	s.opts.Logger.Error("the log can't be read", "stream", s.stream, "destination", s.opts.Cursor.Name(), "error", err)
}
