package shipper

import (
	"errors"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// readBytes is what one read of the log fetches at most.
	readBytes = 1 << 20
	// readWindow is how far apart, in offsets, lanes may stand to be read for together.
	readWindow = 4096
	// Once the log's end is met, the next read waits a little: events wait for company anyway, and to
	// wake for each would cost their producer's commits. This share of MaxDelay, at most so long.
	readPauseShare = 20
	readPauseMax   = 50 * time.Millisecond
	// readAgain is how long a read that failed waits; the log itself has the reason.
	readAgain = time.Second
)

// want asks the reader for the events of some lanes from an offset on.
type want struct {
	from  uint64
	lanes wal.LaneSet
	limit int
}

// read is what the reader found.
type read struct {
	chunk wal.Chunk
	err   error
}

// readLog is the reader: it waits for the disk so that Run need not. It ends with wants.
func (s *Shipper) readLog() {
	for w := range s.wants {
		chunk, err := s.opts.Log.Read(s.stream, w.from, w.lanes, w.limit)
		var corrupt *wal.CorruptError
		if errors.As(err, &corrupt) {
			err = s.opts.Log.Lose(corrupt, s.stream, chunk.Next)
		}
		s.reads <- read{chunk, err}
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
	room := s.room(now)
	end := s.opts.Log.Next(s.stream)
	first := s.hungriest(now, end)
	if first == nil || room <= 0 {
		return time.Hour
	}
	w := want{from: first.next, limit: min(room, readBytes)}
	s.turn++
	for _, l := range s.lanes {
		if s.hungry(l, now, end) && l.next >= first.next && l.next-first.next <= readWindow {
			l.reading, l.served = true, s.turn
			w.lanes |= l.set
		}
	}
	s.reading = true
	s.wants <- w
	return time.Hour
}

// room returns the bytes that may be read now. While the destination takes nothing at all there
// is no use in holding more than a request's worth.
func (s *Shipper) room(now time.Time) int {
	limit := s.opts.Memory
	if s.trouble != nil && s.trouble.times > 1 {
		limit = readBytes
	}
	if s.held < limit {
		return limit - s.held
	}
	s.forgetStuck(now)
	return limit - s.held
}

func (s *Shipper) hungriest(now time.Time, end uint64) (first *lane) {
	for _, l := range s.lanes {
		if s.hungry(l, now, end) && (first == nil || l.served < first.served ||
			l.served == first.served && l.next < first.next) {
			first = l
		}
	}
	return first
}

// hungry tells whether to read for the lane. What is to be dropped is read too: to be counted.
func (s *Shipper) hungry(l *lane, now time.Time, end uint64) bool {
	if l.next >= end {
		return false
	}
	return l.next < s.floor || !l.waits(now) && l.bytes < s.laneMemory()
}

// laneMemory is what one lane may hold, so that a busy one leaves room for the others.
func (s *Shipper) laneMemory() int {
	if s.whole {
		return s.opts.Memory
	}
	return s.opts.Memory / 4
}

// forgetStuck frees what lanes hold that wait out a backoff, or, when all wait, beyond a request's
// worth.
func (s *Shipper) forgetStuck(now time.Time) {
	for _, l := range s.lanes {
		if l.waits(now) || s.trouble != nil && s.held > readBytes {
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
	var dropped wal.Count
	for i := range r.chunk.Events {
		e := &r.chunk.Events[i]
		l := s.laneOf(e)
		if !l.reading || e.Offset < l.next || s.start[e.Lane].Done(e.Offset) || l.mark.Done(e.Offset) {
			continue
		}
		if e.Offset < s.floor {
			dropped.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			continue
		}
		l.take(*e, since)
		s.held += held(e)
	}
	for _, l := range s.lanes {
		if l.reading {
			l.next, l.reading = max(l.next, r.chunk.Next), false
		}
	}
	s.countDropped(dropped)
}

// arrived returns when what was just read may have been appended, as far back as the pause that
// the read had to wait, and sets the next pause.
func (s *Shipper) arrived(now time.Time, end bool) time.Time {
	pause := min(s.opts.MaxDelay/readPauseShare, readPauseMax)
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
	s.opts.Logger.Error("the log can't be read", "stream", s.stream, "destination", s.opts.Place.Name(), "error", err)
}
