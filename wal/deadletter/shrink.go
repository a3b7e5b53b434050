package deadletter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltcopy"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// shrinkOver is the length in bytes above which a file is worth shrinking.
const shrinkOver = 1 << 20

// shrinkLocked replaces the file by a copy when letters take less than half of it. The copy gets the file's name once
// it is complete and synced, so that a crash leaves one of the two.
func (q *Queue) shrinkLocked() error {
	if q.db == nil || q.failed != nil {
		return nil
	}
	_, length, _ := disk.Sizes(q.path)
	if length <= min(shrinkOver, q.opts.Budget.Max()/2) {
		return nil
	}
	p, err := q.pagesLocked()
	if err != nil || 2*p.live*p.size > length {
		return err
	}
	size := (p.live*3/2 + copyPages + dropPages(levels(p.live*3/2))) * p.size
	defer func() {
		if _, length, ok := disk.Sizes(q.path); ok {
			q.holdBytes(length, 0)
			q.held = length
		}
	}()
	if !q.holdBytes(length, size) {
		return nil
	}
	unfinished := q.path + segment.UnfinishedSuffix
	err = q.copyLocked(unfinished, size)
	if err == nil {
		err = q.copied()
	}
	if err == nil {
		err = q.closeLocked()
	}
	if err == nil {
		err = os.Rename(unfinished, q.path) // the next open syncs the folder
	}
	if err != nil {
		_ = disk.RemoveIfExists(unfinished) // or the next copy does
		return fmt.Errorf("shrink %s: %w", q.path, err)
	}
	return nil
}

// logShrink logs an error of shrinkLocked, unless the previous attempt failed too. It also logs the first success
// after such errors.
func (q *Queue) logShrink(err error) {
	failed := q.shrinkFailed
	if q.shrinkFailed = err != nil; q.shrinkFailed == failed {
		return
	}
	if err != nil {
		q.opts.Logger.Warn("dead letters: file not shrunk; the next drop tries again", "file", q.path, "error", err)
		return
	}
	q.opts.Logger.Info("dead letters: file shrunk", "file", q.path)
}

// copyPages are the pages that a copy has in addition to those of the letters: the meta pages, and those that each
// transaction writes again.
const copyPages = 16

// copyLocked copies the letters, and the last assigned ID, to a file of at most size bytes, and syncs it. The file has room for
// a Drop.
func (q *Queue) copyLocked(path string, size int64) (err error) {
	if err := disk.RemoveIfExists(path); err != nil {
		return err
	}
	db, err := segment.OpenBolt(path, &bolt.Options{NoSync: true, InitialMmapSize: disk.MapAhead(size, disk.CopyAhead)})
	if err != nil {
		return err
	}
	db.AllocSize, db.MaxSize = 0, int(min(size, math.MaxInt))
	w := boltcopy.Writer{DB: db}
	err = segment.ViewBolt(q.db, q.path, 0, func(tx *bolt.Tx) error { return (&copying{w: &w, from: lettersIn(tx)}).run() })
	page := int64(db.Info().PageSize)
	if err := errors.Join(err, w.Abandon(), db.Close()); err != nil {
		return err
	}
	return os.Truncate(path, min(w.Length+(dropPages(levels(w.Length/page))+1)*page, size))
}

// copying is a copy of all letters.
type copying struct {
	w    *boltcopy.Writer
	from letters

	bytes       int // of the chunks
	dead, parts boltcopy.Chunk
	besideParts bool // the copy has letters in parts
}

func (c *copying) run() error {
	var last uint64
	if c.from.dead != nil {
		last = c.from.dead.Sequence()
		cursor := c.from.dead.Cursor()
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			if err := c.letter(k, v); err != nil {
				return err
			}
			if c.bytes > boltcopy.ChunkSize {
				if err := c.put(); err != nil {
					return err
				}
			}
		}
	}
	if err := c.put(); err != nil {
		return err
	}
	if err := c.w.Tx.Bucket(bucketDead).SetSequence(last); err != nil {
		return err
	}
	return c.w.Commit()
}

// letter adds a letter to the chunks. It stores a long letter of a release before parts in parts. The letters after one
// with parts get the version of those with parts. Every other letter stays as it is, also a damaged one.
func (c *copying) letter(key, value []byte) error {
	if len(key) == 8 {
		id := binary.BigEndian.Uint64(key)
		h, err := decodeHead(value, id)
		if err == nil && h.body != nil && (c.besideParts || len(h.body) > mostInline) {
			value = letterValue(id, h.body, c.besideParts)
			if err := eachPart(id, h.body, c.part); err != nil {
				return err
			}
		}
		for _, k := range c.from.partKeys(id) {
			if err := c.part(k, c.from.parts.Get(k)); err != nil {
				return err
			}
		}
	}
	c.dead.Add(key, value)
	c.bytes += len(value)
	return nil
}

func (c *copying) part(key, part []byte) error {
	c.parts.Add(key, part)
	c.bytes += len(part)
	c.besideParts = true
	return nil
}

// put moves the chunks to the copy.
func (c *copying) put() error {
	if err := c.w.Put(bucketDead, &c.dead); err != nil {
		return err
	}
	if err := c.w.Put(bucketParts, &c.parts); err != nil {
		return err
	}
	c.bytes, c.dead, c.parts = 0, boltcopy.Chunk{}, boltcopy.Chunk{}
	return nil
}
