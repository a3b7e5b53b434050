package shipper

import (
	"errors"
	"math"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
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
	if s.ask(want{until: s.floor.Offset(), limit: readBytes}, func(l *lane) bool { return l.next < s.floor.Offset() && !l.inRequest() }) {
		return time.Hour
	}
	if !s.finishing {
		s.throttle.update(now, s.opts.Source.Flow(), s.opts.Source.Appended(s.stream).Bytes)
		if wait := s.throttle.wait(); wait > 0 {
			return wait
		}
	}
	end, room := s.opts.Source.Next(s.stream), 0
	if s.failures != nil && s.failures.count > 1 {
		room = s.lanes.outageRoom()
	} else {
		room = s.lanes.room(now)
	}
	if room > 0 {
		// Those that wait for their pace come after those that could send: their events would fill the room,
		// be forgotten for the others' sake, and be read again, for ever.
		starved := s.lanes.starved(now)
		s.ask(want{until: math.MaxUint64, limit: min(room, readBytes, s.lanes.memory/laneShare)}, func(l *lane) bool {
			return l.next < end && !l.failures.backingOff(now) && l.bytes < s.lanes.laneLimit(now, l) && !(starved && l.pacing.holds(now))
		})
	}
	return time.Hour
}

// ask sends w to the reader for the hungry lane that was served longest ago, and for the hungry ones
// near it. It returns false when none is hungry.
func (s *Shipper) ask(w want, hungry func(*lane) bool) bool {
	var first *lane
	for _, l := range s.lanes.all {
		if hungry(l) && (first == nil || l.served < first.served || l.served == first.served && l.next < first.next) {
			first = l
		}
	}
	if first == nil {
		return false
	}
	s.turn++
	for _, l := range s.lanes.all {
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
		l := s.lanes.of(e)
		if !l.reading || e.Offset < l.next || e.Offset >= r.until || s.lanes.settled(l, e) {
			continue
		}
		if e.Offset < s.floor.Offset() && !l.inRequest() {
			dropped.add(e, s.floor)
			continue
		}
		s.lanes.push(l, e, since)
	}
	for _, l := range s.lanes.all {
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
	for _, l := range s.lanes.all {
		l.reading = false
	}
	s.readAt = time.Now().Add(readAgain)
	if stopped(err) {
		return
	}
	s.opts.Logger.Error("the log can't be read", "stream", s.stream, "destination", s.opts.Cursor.Name(), "error", err)
}
