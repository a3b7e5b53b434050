package wal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// Room is kept at three levels. Appends end where the margin begins; the margin is for checkpoints
// and for the next segment. Within it the newest segment keeps a reserve of blocks that are
// allocated already, so that a checkpoint, and with it truncation, works on a disk that is full to
// the last block.

// retryAfter is how long a refused producer is told to wait.
const retryAfter = time.Second

// margin is kept free of appends.
func (l *Log) margin() int64 { return min(1<<20, l.opts.MaxSize/6) + 2*l.stateBytes.Load() }

// reserve is what stays allocated in the newest segment.
func (l *Log) reserve() int64 { return min(1<<20, l.opts.MaxSize/6)/4 + l.stateBytes.Load() }

// step is by how much the newest segment is allocated ahead.
func (l *Log) step() int64 { return min(max(l.opts.SegmentSize/16, 64<<10), 4<<20) }

// copyRoom is kept free of appends for the copy of a segment that is rewritten: a log that is full of what
// is mostly settled must be able to make room.
func (l *Log) copyRoom() int64 { return min(l.opts.SegmentSize*3/4, l.opts.MaxSize/20) }

// capacity is the most that an empty log takes.
func (l *Log) capacity() int64 { return l.opts.MaxSize - l.margin() - l.copyRoom() - emptySegment }

// emptySegment is about what a segment occupies before its first event.
const emptySegment = 64 << 10

// space returns how many bytes appends may take up now, by MaxSize and by what the disk has left.
func (l *Log) space() int64 { return min(l.spaceOfMax(), l.spaceOnDisk()) }

func (l *Log) spaceOfMax() int64 {
	l.mu.RLock()
	active, around := l.segments[len(l.segments)-1], l.aroundLocked()
	owed := active.indexSize()
	if active.bare {
		owed += l.stateBytes.Load()
	}
	l.mu.RUnlock()
	return l.opts.MaxSize - around - active.used.Load() - owed - l.margin() - max(l.copyRoom()-l.copying.Load(), 0)
}

func (l *Log) spaceOnDisk() int64 {
	free, err := freeBytes(l.dir)
	if err != nil {
		return math.MaxInt64
	}
	active := l.active()
	ahead := max(active.allocated.Load()-active.used.Load()-l.reserve(), 0)
	return ahead + free - l.margin()
}

// A disk that had plentyOnDisk is asked again only after lookPatience: asking took a fortieth of a commit. Should
// others fill it meanwhile, allocate finds out.
const (
	plentyOnDisk = 1 << 30
	lookPatience = 10 * time.Millisecond
)

// space is Log.space, of a moment ago when the disk has plenty.
func (c *committer) space() int64 {
	room := c.log.spaceOfMax()
	now := time.Now()
	if now.Before(c.lookAgain) {
		return room
	}
	disk := c.log.spaceOnDisk()
	if disk >= plentyOnDisk {
		c.lookAgain = now.Add(lookPatience)
	}
	return min(room, disk)
}

// allocate makes sure that the newest segment has need bytes beyond what it uses, and the reserve, and that its map
// can have room for them and for spare bytes more: bbolt, which maps it anew, can't go on when that fails. Its
// shortage comes before anything of a commit is written.
func (l *Log) allocate(s *segment, need, spare int64) error {
	have := max(s.allocated.Load(), s.length)
	want := s.used.Load() + need + l.reserve()
	if want+spare > s.mapped {
		if err := l.scrape(func() error { return s.tryMap(want + spare) }); err != nil {
			return err
		}
	}
	if want <= have {
		return nil
	}
	ahead := (want + l.step() - 1) / l.step() * l.step()
	if l.around()+ahead > l.opts.MaxSize {
		ahead = want
	}
	err := s.allocate(ahead)
	if noSpace(err) && ahead > want {
		err = s.allocate(want)
	}
	return err
}

// allocate gives the file's first size bytes blocks on the disk, or where the file system can't do that makes it so long:
// bbolt would do that itself, with a sync, and not say what is wrong.
func (s *segment) allocate(size int64) error {
	have := s.allocated.Load()
	err := errors.ErrUnsupported
	if !s.unallocated {
		err = uninterrupted(func() error { return allocateFile(s.file, have, size-have) })
	}
	switch {
	case err == nil:
		s.allocated.Store(size)
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		s.unallocated = true
		if err = lengthen(s.file, size); err == nil {
			s.length = size
			return nil
		}
	}
	return fmt.Errorf("allocate %d bytes of %s: %w", size, s.path, err)
}

func lengthenPath(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(lengthen(f, size), f.Close())
}

// lengthen makes a file at least so long.
func lengthen(f *os.File, size int64) error {
	st, err := f.Stat()
	if err != nil || st.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

func (l *Log) around() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.aroundLocked()
}

// aroundLocked returns the bytes that all but the newest segment occupy.
func (l *Log) aroundLocked() int64 {
	bytes := l.sealed + l.copying.Load()
	if l.next != nil {
		bytes += l.next.size
	}
	return bytes
}

// Full tells whether appends wait, or one was refused for want of room and there is none since, or there was none
// when the log was opened.
func (l *Log) Full() bool {
	since := l.fullSince.Load()
	if since == nil {
		return false
	}
	ago := l.opts.Clock().Sub(*since) // less than 0 when the clock has jumped back
	if l.space() < l.margin() || 0 <= ago && ago < retryAfter {
		return true
	}
	l.fullSince.CompareAndSwap(since, nil)
	return false
}

// noteFull is called whenever an append is refused or waits for want of room, and for a log that is opened without any.
func (l *Log) noteFull() {
	now := l.opts.Clock()
	l.fullSince.Store(&now)
}

// noteRoom is called whenever an append was stored.
func (l *Log) noteRoom() {
	if l.fullSince.Load() != nil && l.space() >= l.margin() {
		l.fullSince.Store(nil)
	}
}

// fullError tells that there is no room for need bytes.
func (l *Log) fullError(need int64) error {
	st := l.Stat()
	if st.Bytes+need+l.margin()+l.copyRoom() < st.MaxBytes {
		st.MaxBytes = 0 // it is the disk that is full
	}
	return &FullError{Used: st.Bytes, Max: st.MaxBytes, RetryAfter: retryAfter}
}
