package deadletter

import (
	"math"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// letterPages returns the most bytes of pages that a letter of n bytes takes.
func letterPages(n int) int64 { return segment.EntryPages(8, n) }

// otherPages returns the bytes of the file's other pages, and of those that a transaction writes beside the letter.
func otherPages() int64 { return 8 * int64(os.Getpagesize()) }

// step returns the number of bytes by which the file is lengthened.
func (q *Queue) step() int64 { return min(lengthStep, q.opts.Budget.Max()/16) }

// reserveLocked makes room for a letter of size bytes in the file and in its map before a commit begins. bbolt would do so
// during the commit, where a shortage is final. The file gets room for more bytes than the letter's own, since the commit
// also writes the letter's neighbours again. all reports that no further room can be made. The room for a Drop is
// reserved in addition.
func (q *Queue) reserveLocked(size, more int64) (all bool, err error) {
	used, err := q.usedLocked()
	if err != nil {
		return false, err
	}
	extra := dropRoom(max(q.largest, size))
	want := min(used+more, q.opts.Budget.Max()-extra)
	all = want < used+more
	if !q.holdLocked(want + extra) {
		all, want = true, min(want, q.held-extra)
	}
	if all && q.live+q.needs(size) > want {
		return all, q.fullError(size)
	}
	if q.held >= q.mapped {
		if err := q.closeLocked(); err != nil {
			return all, err
		}
		if err := disk.LengthenPath(q.path, want); err != nil {
			return all, err
		}
		if err := q.openLocked(); err != nil {
			return all, err
		}
	}
	if err := disk.Lengthen(q.file, want); err != nil {
		return all, err
	}
	q.limitLocked(want)
	return all, nil
}

// holdLocked lets the file reach that many bytes, and at least its present length. It reports whether there is room for
// that.
func (q *Queue) holdLocked(bytes int64) bool {
	_, length, _ := disk.Sizes(q.path)
	bytes = max(bytes, length)
	if !q.holdBytes(bytes, 0) {
		return false
	}
	q.held = bytes
	return true
}

// holdBytes reserves room for a file of length bytes, and for the bytes beside it.
func (q *Queue) holdBytes(length, beside int64) bool {
	return q.opts.Budget.Hold(min(length, q.opts.Budget.Max()) + beside)
}

// limitLocked keeps bbolt from using more than that many bytes of the file.
func (q *Queue) limitLocked(bytes int64) {
	q.db.AllocSize = 0 // bbolt would let the file grow by as much
	q.db.MaxSize = int(min(max(bytes, 1), math.MaxInt))
}

// dropRoom returns the bytes that the removal of a letter takes in a file whose largest letter has that many bytes: the
// neighbours of the letter are written again.
func dropRoom(largest int64) int64 { return 3*largest + otherPages()/2 }

// reserveToDropLocked lets a Drop use the room that is reserved for it. If more is true, it also reserves further room, as
// far as there is some.
func (q *Queue) reserveToDropLocked(more bool) {
	if more {
		q.holdLocked(min(q.held+2*dropRoom(q.largest), math.MaxInt))
	}
	q.limitLocked(q.held)
}

// needs returns the bytes that a letter of size bytes takes in addition to the stored letters. This includes the
// temporary need while the letter and a neighbour are written again.
func (q *Queue) needs(size int64) int64 {
	need := letterPages(int(size)) + otherPages()
	if q.live > 0 {
		need += size
	}
	return need
}

func (q *Queue) fullError(size int64) error {
	return &FullError{Letter: size, Used: q.live, Max: q.opts.Budget.Max()}
}

// usedLocked returns the number of bytes of the file that have ever been used.
func (q *Queue) usedLocked() (used int64, err error) {
	err = segment.ViewBolt(q.db, q.path, 0, func(tx *bolt.Tx) error {
		used = tx.Size()
		return nil
	})
	return used, err
}

// measureLocked calculates live and largest from the stored letters.
func (q *Queue) measureLocked() error {
	q.live, q.largest = 0, 0
	return segment.ViewBolt(q.db, q.path, 0, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketDead)
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, v []byte) error {
			q.largest = max(q.largest, int64(len(v)))
			q.live += letterPages(len(v))
			return nil
		})
	})
}
