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

// shrinkOver is the length in bytes above which a file is worth shrinking.
const shrinkOver = 1 << 20

// shrinkLocked replaces the file by a copy when letters take less than half of it. The copy gets the file's name once
// it is complete and synced, so that a crash leaves one of the two.
func (q *Queue) shrinkLocked() error {
	if q.db == nil || q.failed != nil {
		return nil
	}
	_, length, _ := disk.Sizes(q.path)
	if length <= min(shrinkOver, q.opts.Budget.Max()/2) || 2*q.live > length {
		return nil
	}
	size := q.live*3/2 + 2*otherPages()
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
	err := q.copyLocked(unfinished, size)
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

// copyLocked copies the letters, and the last assigned ID, to a file of at most size bytes, and syncs it.
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
	err = segment.ViewBolt(q.db, q.path, 0, func(tx *bolt.Tx) error { return copyLetters(&w, tx.Bucket(bucketDead)) })
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
