package wal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// Everything that can exist at once fits into MaxSize:
//
//	the sealed segments, a copy under way
//	+ the newest segment: its used bytes, and its reserve
//	    checkpointRoom   all places written anew beside their previous state
//	    sealRoom         the index and the mark that end it
//	+ the next segment: beginRoom, the whole state, whether it is made ready yet or not
//	+ the dead letters: deadHeld
//
// Appends take the rest, less a margin and the room of a copy. bbolt itself is kept from growing a file
// beyond it (limit), so an estimate that is too low costs a refusal and not the bound. The reserve is allocated, and
// the next segment is made early where the disk is short: both work on a disk that is full to the last block.
//
// So from any state the newest segment can be sealed and the next one begun, which writes the state as it is then:
// renew does that when no destination needs the events of the newest and there is no room for more. The old one is
// unlinked then, and the log has the room of an empty log again, however short the old one was. With the
// state within maxState that is capacity at least.

// retryAfter is how long a refused producer is told to wait.
const retryAfter = time.Second

// maxSegments returns the number of bytes that all segments together may occupy now.
func (l *Log) maxSegments() int64 { return l.opts.MaxSize - l.deadHeld() }

// margin is kept free of appends.
func (l *Log) margin() int64 { return min(1<<20, l.opts.MaxSize/16) }

// plenty is the room that a log has that is no longer full.
func (l *Log) plenty() int64 { return min(1<<20, l.opts.MaxSize/6) }

// step is by how much the newest segment is allocated ahead.
func (l *Log) step() int64 { return min(max(l.opts.SegmentSize/16, 64<<10), 4<<20) }

// copyRoom is kept free of appends for the copy of a segment that is rewritten: a log that is full of what
// is mostly settled must be able to make room.
func (l *Log) copyRoom() int64 { return min(l.opts.SegmentSize*3/4, l.opts.MaxSize/20) }

// capacity is the most that an append may take. It does not depend on the state: even with maxState there is room for
// that much once all is settled.
func (l *Log) capacity() int64 { return l.opts.MaxSize*3/5 - 2*emptySegment }

// emptySegment is the most that a segment occupies before its first event, apart from the state.
var emptySegment = int64(max(64<<10, 12*os.Getpagesize()))

// beginRoom is the most that the next segment occupies once it has begun.
func (l *Log) beginRoom() int64 {
	state := l.stateBytes.Load()
	return emptySegment + state + state/16
}

// checkpointRoom is the most that a checkpoint takes.
func (l *Log) checkpointRoom() int64 {
	places := l.cursorBytes.Load()
	return int64(4*os.Getpagesize()) + places + places/16
}

// sealRoom is the most that sealing takes.
func (s *segmentFile) sealRoom() int64 { return s.indexSize()*9/8 + sealPages }

// reserve is the room that stays allocated in the newest segment.
func (l *Log) reserve(s *segmentFile) int64 { return l.checkpointRoom() + s.sealRoom() }

// space returns how many bytes appends may take up now, by MaxSize and by what the disk has left.
func (l *Log) space() int64 { return min(l.spaceOfMax(), l.spaceOnDisk()) }

func (l *Log) spaceOfMax() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	active, used := l.newestLocked()
	room := l.maxSegments() - l.aroundLocked() - l.owedLocked() - used - l.reserve(active)
	if len(l.segments) > 1 {
		room -= max(l.copyRoom()-l.compactor.copying.Load(), 0)
	}
	if len(l.segments) > 1 || !active.empty() {
		room -= l.margin()
	}
	return min(room, l.longest()-used)
}

// newestLocked returns the newest segment and the bytes that it uses, or will use as soon as it begins.
func (l *Log) newestLocked() (s *segmentFile, used int64) {
	s = l.segments[len(l.segments)-1]
	used = s.used.Load()
	if s.bare {
		used = max(used, l.beginRoom())
	}
	return s, used
}

// owedLocked returns the bytes that the next segment will occupy beyond those that it occupies now.
func (l *Log) owedLocked() int64 {
	owed := l.beginRoom()
	if l.next != nil {
		owed -= l.next.size
	}
	return max(owed, 0)
}

// longest is how long the newest segment may become while no other can follow it: when it is lost, Open skips as many
// offsets as a segment of SegmentSize and a commit can hold.
func (l *Log) longest() int64 { return l.opts.SegmentSize + largestCommit + 2*l.stateBytes.Load() }

// empty reports whether the segment, which is the newest, holds no event.
func (s *segmentFile) empty() bool { return s.indexSize() == 0 }

func (l *Log) spaceOnDisk() int64 {
	free, err := disk.Free(l.dir)
	if err != nil {
		return math.MaxInt64
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	active, used := l.newestLocked()
	l.volume.Store(free + l.aroundLocked() + max(used, active.allocated.Load()))
	ahead := active.allocated.Load() - used
	if active.unallocated.Load() || ahead < 0 {
		ahead = 0
	}
	return ahead + free - l.reserve(active) - l.owedLocked() - l.margin()
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
	if now.Before(c.checkDisk) {
		return room
	}
	disk := c.log.spaceOnDisk()
	if c.log.short.Store(disk < plentyOnDisk); disk >= plentyOnDisk {
		c.checkDisk = now.Add(lookPatience)
	}
	return min(room, disk)
}

// allocate makes sure that the newest segment has need bytes beyond its used ones, and the reserve, and that its map
// can have room for them and for spare bytes more: bbolt, which maps it anew, can't go on when that fails. Its
// shortage comes before anything of a commit is written.
func (l *Log) allocate(s *segmentFile, need, spare int64) error {
	have := max(s.allocated.Load(), s.length)
	want := s.used.Load() + need + l.reserve(s)
	if want+spare > s.mapped {
		if err := l.scrape(func() error { return s.tryMap(want + spare) }); err != nil {
			return err
		}
	}
	if want <= have {
		return nil
	}
	ahead := (want + l.step() - 1) / l.step() * l.step()
	if ahead+l.copyRoom() > l.limit() {
		ahead = want
	}
	err := s.allocate(ahead)
	if disk.NoSpace(err) && ahead > want {
		err = s.allocate(want)
	}
	return err
}

// limit is how long the newest segment may become.
func (l *Log) limit() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.maxSegments() - l.aroundLocked() - l.owedLocked()
}

// allocate gives the file's first size bytes blocks on the disk, or where the file system can't do that makes it so long:
// bbolt would do that itself, with a sync, and not report the cause of an error.
func (s *segmentFile) allocate(size int64) error {
	have := s.allocated.Load()
	err := errors.ErrUnsupported
	if !s.unallocated.Load() {
		err = disk.Uninterrupted(func() error { return disk.Allocate(s.file, have, size-have) })
	}
	switch {
	case err == nil:
		s.allocated.Store(size)
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		s.unallocated.Store(true)
		if err = disk.Lengthen(s.file, size); err == nil {
			s.length = size
			return nil
		}
	}
	return fmt.Errorf("allocate %d bytes of %s: %w", size, s.path, err)
}

// aroundLocked returns the bytes that all but the newest segment occupy.
func (l *Log) aroundLocked() int64 {
	bytes := l.sealed + l.compactor.copying.Load()
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
	if l.space() < l.plenty() || 0 <= ago && ago < retryAfter {
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
	if l.fullSince.Load() != nil && l.space() >= l.plenty() {
		l.fullSince.Store(nil)
	}
}

// fullError tells that there is no room for need bytes.
func (l *Log) fullError(need int64) error {
	st := l.Stat()
	if l.spaceOfMax() >= need {
		st.MaxBytes = 0 // it is the disk that is full
	}
	return &FullError{Used: st.Bytes, Max: st.MaxBytes, RetryAfter: retryAfter}
}

// spareForCopy returns the bytes that are free beside the copy under way; less than 0: there is no room for that copy.
func (l *Log) spareForCopy() int64 {
	l.mu.RLock()
	active, used := l.newestLocked()
	spare := l.maxSegments() - l.aroundLocked() - l.owedLocked() - max(used+l.reserve(active), active.allocated.Load()) - l.margin()
	l.mu.RUnlock()
	return min(spare, l.spaceOnDisk()-l.compactor.copying.Load())
}
