package deadletter

import (
	"errors"
	"math"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Room is counted in pages. bbolt allocates single pages for the letters of this release, so a commit fits if and only if
// enough pages are free or the file may grow by the rest. A Put leaves the pages that the removal of one letter takes.
// That removal frees at least as many as it takes, so letters can always be dropped, one by one at worst.
//
// Releases before parts stored a letter as one value, which takes a run of pages together with its neighbours. As long as
// the file has such a letter, a run beyond all pages in use is reserved in addition. The next copy of the file stores these
// letters in parts.

// pages are the file's pages.
type pages struct {
	size int64 // of a page, in bytes
	used int64 // pages that were ever in use
	free int64 // pages that a commit may use
	live int64 // pages that the letters take

	dead, parts tree // if the file is small
}

var errMeasured = errors.New("the transaction was only for reading")

// pagesLocked counts the pages. bbolt counts them at the end of a write transaction. The beginning of one makes pages free
// that no read transaction needs any more.
func (q *Queue) pagesLocked() (p pages, err error) {
	err = q.updateLocked(func(tx *bolt.Tx) error {
		p.size = int64(tx.DB().Info().PageSize)
		p.used = tx.Size() / p.size
		if p.used <= smallFile {
			l := lettersIn(tx)
			p.dead, p.parts = treeOf(l.dead), treeOf(l.parts)
		}
		return errMeasured
	})
	if !errors.Is(err, errMeasured) {
		return p, err
	}
	stats := q.db.Stats()
	p.free = int64(stats.FreePageN)
	p.live = p.used - metaPages - p.free - int64(stats.PendingPageN)
	return p, nil
}

const metaPages = 2

// need returns the pages that must be free for a Put of a letter with a body of that length: those that its commit writes,
// and those that the next Drop does.
func (p pages) need(length int, most int64) int64 {
	parts := int64(partsOf(length))
	if p.used > smallFile || parts > smallFile {
		height := levels(min(p.live+parts, most/p.size))
		return putPages(parts, height) + dropPages(height)
	}
	value := length
	if parts > 0 {
		value = 16
	}
	inDead, moreInDead := p.dead.add(1, int64(value))
	inParts, moreInParts := p.parts.add(parts, int64(length))
	return inDead + inParts + 1 + min(dropPages(2), p.live+moreInDead+moreInParts)
}

// smallFile is the number of pages up to which the file, and a letter, is small: no bucket then gets a third level. Room is
// calculated more closely there, since a small log reserves only 16 pages for its dead letters.
const smallFile = 30

// tree is the pages of a bucket in a small file.
type tree struct {
	leaves, branches int64
	within           int64 // bytes of a bucket that has no page of its own: it lies in the page that lists the buckets
}

func treeOf(b *bolt.Bucket) tree {
	if b == nil {
		return tree{}
	}
	s := b.Stats()
	return tree{leaves: int64(s.LeafPageN), branches: int64(s.BranchPageN), within: int64(s.InlineBucketInuse)}
}

// add returns the most pages that a commit writes to append entries with a total length of values. It also returns by how
// many the tree grows. bbolt puts at least four entries into a page after the last one of before.
func (t tree) add(entries, values int64) (written, more int64) {
	const mostWithin, entryOverhead = 1000, 28
	if entries == 0 || t.leaves == 0 && t.within+values+entries*entryOverhead <= mostWithin {
		return 0, 0
	}
	written = (entries + 3) / 4
	if more = written; t.leaves > 0 || t.within > 0 {
		written++
	}
	if t.leaves == 0 {
		more = written
	}
	if t.leaves+more > 1 {
		written++
		more += 1 - min(t.branches, 1)
	}
	return written, more
}

// levels returns an upper bound of the levels of pages in a bucket of that many pages. bbolt merges a page of branches
// that becomes less than half full with its neighbour. The first page of branches that has a neighbour has over 40
// elements, and the others have 32 on average.
func levels(pages int64) int64 {
	n := int64(2)
	for pages /= 40; pages > 0; pages /= 32 {
		n++
	}
	return n
}

// putPages returns the most pages that a commit of a letter with that many parts writes. In the bucket "dead" these are two
// on each level. In the bucket "parts" they are the leaves, a hundredth of them as branches, and two on each level. Each
// bucket may get a level, and one page lists the buckets.
func putPages(parts, levels int64) int64 {
	n := 2*levels + 2
	if parts > 0 {
		leaves := parts/4 + 2
		n += leaves + leaves/100 + 2*levels - 1
	}
	return n
}

// dropPages returns the most pages that a commit writes which removes one letter. On each level below the root, the pages
// at both ends of the letter's parts are written again, each with a neighbour that it may be merged with. In the bucket
// "dead", that is one page with a neighbour.
func dropPages(levels int64) int64 { return 4*(levels-1) + 1 + 2*(levels-1) + 1 + 1 }

// step returns the number of bytes by which the file is lengthened.
func (q *Queue) step() int64 { return min(lengthStep, q.opts.Budget.Max()/16) }

// reserveLocked makes room in the file, and in its map, for a letter with a body of that length before a commit begins.
// bbolt would do so during the commit, where a shortage is final. It reserves room for a Drop in addition.
func (q *Queue) reserveLocked(length int) error {
	p, err := q.pagesLocked()
	if err != nil {
		return err
	}
	most := q.opts.Budget.Max()
	need := p.need(length, most)
	grow := max(need-p.free, 0) + q.runPages(p.size)
	want := q.held
	if grow > 0 {
		want = max((p.used+grow+1)*p.size, want) // bbolt rejects a commit that uses the last page
	}
	switch {
	case (metaPages+p.live+need)*p.size > most || want > max(most, q.held):
		return q.fullError(length, p)
	case want > q.held && !q.holdLocked(min(want+q.step(), most)) && !q.holdLocked(want):
		return q.fullError(length, p)
	}
	return q.lengthenLocked()
}

// lengthenLocked gives the file, and its map, the length that is held.
func (q *Queue) lengthenLocked() error {
	if q.held >= q.mapped {
		want := q.held
		if err := q.closeLocked(); err != nil {
			return err
		}
		if err := disk.LengthenPath(q.path, want); err != nil {
			return err
		}
		if err := q.openLocked(); err != nil {
			return err
		}
	}
	q.limitLocked()
	return disk.Lengthen(q.file, q.held)
}

// lengthenToDropLocked makes room to drop a letter in a file that has none: a release before parts left it full. It reports
// whether there may be more room.
func (q *Queue) lengthenToDropLocked() bool {
	_, length, _ := disk.Sizes(q.path)
	room := q.dropRoom(length)
	return (q.holdLocked(q.held+2*room) || q.holdLocked(q.held+room)) && q.lengthenLocked() == nil
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

// limitLocked keeps bbolt from using more bytes of the file than are held.
func (q *Queue) limitLocked() {
	q.db.AllocSize = 0 // bbolt would let the file grow by as much
	q.db.MaxSize = int(min(max(q.held, 1), math.MaxInt))
}

// dropRoom returns the bytes that the removal of a letter takes in a file of that length.
func (q *Queue) dropRoom(length int64) int64 {
	size := int64(q.db.Info().PageSize)
	return (dropPages(levels(length/size)) + q.runPages(size)) * size
}

// runPages returns the pages of the longest run that bbolt may allocate while the file has a letter of a release before
// parts. Such a page has up to five letters while it is merged with its neighbour.
func (q *Queue) runPages(size int64) int64 { return (5*q.longest + size - 1) / size }

func (q *Queue) fullError(length int, p pages) error {
	return &FullError{Letter: int64(length), Used: p.live * p.size, Max: q.opts.Budget.Max()}
}

// measureLocked finds the longest letter of a release before parts.
func (q *Queue) measureLocked() error {
	longest := int64(0)
	err := segment.ViewBolt(q.db, q.path, 0, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketDead)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if len(k)+len(v) > mostEntry {
				longest = max(longest, int64(len(v)))
			}
			return nil
		})
	})
	if err == nil {
		q.longest = longest
	}
	return err
}
