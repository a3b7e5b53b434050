package deadletter

import (
	"errors"
	"fmt"
	"math"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltcopy"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// letterPages returns the most bytes of pages that a letter of n bytes takes.
func letterPages(n int) int64 { return segment.EntryPages(8, n) }

// deadPages returns the bytes of the file's other pages, and of those that a transaction writes beside the letter.
func deadPages() int64 { return 8 * int64(os.Getpagesize()) }

// step returns the number of bytes by which the file is lengthened.
func (d *Queue) step() int64 { return min(deadStep, d.opts.Budget.Max()/16) }

// roomLocked makes room for a letter of size bytes in the file and in its map before a commit begins. During a commit,
// bbolt would do so, and a shortage would be final. The file gets room for more bytes than the letter's own, since the
// commit also writes the letter's neighbours again. The result all reports that no further room can be made. The room
// for a Drop is held in addition.
func (d *Queue) roomLocked(size, more int64) (all bool, err error) {
	used, err := d.usedLocked()
	if err != nil {
		return false, err
	}
	extra := dropRoom(max(d.largest, size))
	want := min(used+more, d.opts.Budget.Max()-extra)
	all = want < used+more
	if !d.holdLocked(want + extra) {
		all, want = true, min(want, d.held-extra)
	}
	if all && d.live+d.needs(size) > want {
		return all, d.fullError(size)
	}
	if d.held >= d.mapped {
		if err := d.closeLocked(); err != nil {
			return all, err
		}
		if err := disk.LengthenPath(d.path, want); err != nil {
			return all, err
		}
		if err := d.openLocked(); err != nil {
			return all, err
		}
	}
	if err := disk.Lengthen(d.file, want); err != nil {
		return all, err
	}
	d.limitLocked(want)
	return all, nil
}

// holdLocked lets the file reach that many bytes, and at least its present length. It reports whether there is room for
// that.
func (d *Queue) holdLocked(bytes int64) bool {
	_, length, _ := disk.Sizes(d.path)
	bytes = max(bytes, length)
	if !d.holdBytes(bytes, 0) {
		return false
	}
	d.held = bytes
	return true
}

// limitLocked keeps bbolt from using more than that many bytes of the file.
func (d *Queue) limitLocked(bytes int64) {
	d.db.AllocSize = 0 // bbolt would let the file grow by as much
	d.db.MaxSize = int(min(max(bytes, 1), math.MaxInt))
}

// dropRoom returns the bytes that the removal of a letter takes in a file whose largest letter has that many bytes: the
// neighbours of the letter are written again.
func dropRoom(largest int64) int64 { return 3*largest + deadPages()/2 }

// roomToDropLocked lets a Drop use the room that is held for it. If more is true, it also reserves further room, as far
// as there is some.
func (d *Queue) roomToDropLocked(more bool) {
	if more {
		d.holdLocked(min(d.held+2*dropRoom(d.largest), math.MaxInt))
	}
	d.limitLocked(d.held)
}

// needs returns the bytes that a letter of size bytes takes in addition to the stored letters. This includes the
// temporary need while the letter and a neighbour are written again.
func (d *Queue) needs(size int64) int64 {
	need := letterPages(int(size)) + deadPages()
	if d.live > 0 {
		need += size
	}
	return need
}

func (d *Queue) fullError(size int64) error {
	return &FullError{Letter: size, Used: d.live, Max: d.opts.Budget.Max()}
}

// usedLocked returns the number of bytes of the file that have ever been used.
func (d *Queue) usedLocked() (used int64, err error) {
	err = segment.ViewBolt(d.db, d.path, 0, func(tx *bolt.Tx) error {
		used = tx.Size()
		return nil
	})
	return used, err
}

// weighLocked calculates live and largest from the stored letters.
func (d *Queue) weighLocked() error {
	d.live, d.largest = 0, 0
	return segment.ViewBolt(d.db, d.path, 0, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketDead)
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, v []byte) error {
			d.largest = max(d.largest, int64(len(v)))
			d.live += letterPages(len(v))
			return nil
		})
	})
}

// shrinkLocked replaces the file by a copy when letters take less than half of it. The copy gets the file's name once
// it is complete and synced, so that a crash leaves one of the two.
func (d *Queue) shrinkLocked() error {
	if d.db == nil || d.failed != nil {
		return nil
	}
	_, length, _ := disk.Sizes(d.path)
	if length <= min(shrinkOver, d.opts.Budget.Max()/2) || 2*d.live > length {
		return nil
	}
	size := d.live*3/2 + 2*deadPages()
	defer func() {
		if _, length, ok := disk.Sizes(d.path); ok {
			d.holdBytes(length, 0)
			d.held = length
		}
	}()
	if !d.holdBytes(length, size) {
		return nil
	}
	unfinished := d.path + segment.UnfinishedSuffix
	err := d.copyLocked(unfinished, size)
	if err == nil {
		err = d.copied()
	}
	if err == nil {
		err = d.closeLocked()
	}
	if err == nil {
		err = os.Rename(unfinished, d.path) // the next open syncs the folder
	}
	if err != nil {
		_ = disk.RemoveIfExists(unfinished) // or the next copy does
		return fmt.Errorf("shrink %s: %w", d.path, err)
	}
	return nil
}

// noteShrink logs an error of shrinkLocked, unless the previous attempt failed too. It also logs the first success
// after such errors.
func (d *Queue) noteShrink(err error) {
	failed := d.large
	if d.large = err != nil; d.large == failed {
		return
	}
	if err != nil {
		d.opts.Logger.Warn("dead letters: file not shrunk; the next drop tries again", "file", d.path, "error", err)
		return
	}
	d.opts.Logger.Info("dead letters: file shrunk", "file", d.path)
}

// shrinkOver is the length in bytes above which a file is worth shrinking.
const shrinkOver = 1 << 20

// copyLocked copies the letters, and the last assigned ID, to a file of at most size bytes, and syncs it.
func (d *Queue) copyLocked(path string, size int64) (err error) {
	if err := disk.RemoveIfExists(path); err != nil {
		return err
	}
	db, err := segment.OpenBolt(path, &bolt.Options{NoSync: true, InitialMmapSize: segment.MapAhead(size, segment.CopyAhead)})
	if err != nil {
		return err
	}
	db.AllocSize, db.MaxSize = 0, int(min(size, math.MaxInt))
	w := boltcopy.Writer{DB: db}
	err = segment.ViewBolt(d.db, d.path, 0, func(tx *bolt.Tx) error { return copyLetters(&w, tx.Bucket(bucketDead)) })
	if err := errors.Join(err, w.Abandon(), db.Close()); err != nil {
		return err
	}
	return os.Truncate(path, w.Length)
}

// copyLetters copies a bucket of letters, which is nil if no letter was ever stored.
func copyLetters(w *boltcopy.Writer, from *bolt.Bucket) error {
	var last uint64
	var chunk boltcopy.Chunk
	if from != nil {
		last = from.Sequence()
		bytes, c := 0, from.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			chunk.Add(k, v)
			if bytes += len(v); bytes > boltcopy.ChunkSize {
				if err := w.Put(bucketDead, &chunk); err != nil {
					return err
				}
				bytes, chunk = 0, boltcopy.Chunk{}
			}
		}
	}
	if err := w.Put(bucketDead, &chunk); err != nil {
		return err
	}
	if err := w.Tx.Bucket(bucketDead).SetSequence(last); err != nil {
		return err
	}
	return w.Commit()
}

// holdBytes reserves room for a file of length bytes, and for the bytes beside it.
func (d *Queue) holdBytes(length, beside int64) bool {
	return d.opts.Budget.Hold(min(length, d.opts.Budget.Max()) + beside)
}
