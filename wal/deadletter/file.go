package deadletter

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/reread"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// openLocked opens the file, unless it is open.
func (q *Queue) openLocked() (err error) {
	switch {
	case q.closed:
		return ErrClosed
	case q.db != nil:
		return nil
	}
	if err := q.prepareLocked(); err != nil {
		return err
	}
	// The process that made or renamed the file may have ended before it synced the folder.
	if err := disk.SyncDir(filepath.Dir(q.path)); err != nil {
		return err
	}
	_, length, _ := disk.Sizes(q.path)
	o := bolt.Options{InitialMmapSize: disk.MapAhead(length, mapAhead)}
	q.mapped = int64(o.InitialMmapSize)
	if q.db, q.file, err = segment.OpenCountedBoltFile(q.path, &o); err != nil {
		return err
	}
	if err := q.measureLocked(); err != nil {
		return errors.Join(err, q.closeLocked())
	}
	if q.held = 0; !q.holdLocked(min(length+q.dropRoom(length), q.opts.Budget.Max())) {
		q.holdLocked(length)
	}
	q.limitLocked()
	return nil
}

const (
	// mapAhead is how far the map extends beyond the file's length, and lengthStep is the increment of that length.
	mapAhead   = 4 << 20
	lengthStep = 256 << 10
)

// closeLocked closes the file, which the next call opens again.
func (q *Queue) closeLocked() error {
	err := q.db.Close()
	q.db, q.file = nil, nil
	return err
}

// prepareLocked ensures that bbolt can open the file: it creates a missing file, and sets a damaged one aside.
// bbolt would panic on a bad page in a goroutine of its own, and end the process.
func (q *Queue) prepareLocked() error {
	_, err := os.Lstat(q.path)
	if errors.Is(err, os.ErrNotExist) {
		return q.createLocked(0)
	}
	err = reread.Twice(context.Background(), func() error { return checkFile(q.path) })
	if !segment.Damaged(err) {
		return err
	}
	last := lastIDOf(q.path)
	to, asideErr := segment.SetAside(q.path)
	if asideErr != nil {
		return errors.Join(err, asideErr)
	}
	if q.opts.OnAside != nil {
		q.opts.OnAside(to, err)
	}
	return q.createLocked(last)
}

// createLocked creates the file, under another name until it is complete. Its IDs begin after last.
func (q *Queue) createLocked(last uint64) error {
	unfinished := q.path + segment.UnfinishedSuffix
	if err := disk.RemoveIfExists(unfinished); err != nil {
		return err
	}
	db, err := segment.OpenBolt(unfinished, &bolt.Options{})
	if err != nil {
		return err
	}
	if last > 0 {
		err = db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket(bucketDead)
			if err != nil {
				return err
			}
			return b.SetSequence(last)
		})
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Rename(unfinished, q.path)
}

// closeDamagedLocked closes the file, so that the next call opens it again and checks whether it is damaged. If bbolt
// holds its locks, the file stays open until the process ends.
func (q *Queue) closeDamagedLocked() {
	if q.db == nil || q.failed != nil && !q.stuck {
		return
	}
	if !q.stuck {
		_ = q.db.Close() // nothing of it is unsynced
	}
	q.db, q.file, q.stuck, q.failed = nil, nil, false, nil
}

// lastIDOf returns an ID that is not below the last one of a damaged file. That is the sequence of its bucket if it
// can be read. Otherwise it is the number of microseconds since 1970, which exceeds the number of letters that ever
// existed.
func lastIDOf(path string) uint64 {
	most := uint64(max(time.Now().UnixMicro(), 1))
	f, err := segment.OpenPages(path)
	if err != nil {
		return most
	}
	defer f.Close()
	s, err := f.Snapshot()
	if err != nil {
		return most
	}
	if t, err := s.Bucket(bucketDead); err == nil && t != nil && 0 < t.Sequence && t.Sequence < most {
		return t.Sequence
	}
	return most
}

// checkFile checks every page of the file, and that no later release wrote it. The letters have checksums of their
// own.
func checkFile(path string) error {
	if err := segment.CheckPages(path); err != nil {
		return err
	}
	if err := checkNewest(path); segment.Later(err) {
		return err
	}
	return nil
}

// Recover prepares the file of a data directory after a crash: it removes an unfinished copy. It returns the length of
// the file. No Queue of the directory may be in use.
func Recover(dir string) (length int64, err error) {
	path := filepath.Join(dir, segment.DeadName)
	if err := disk.RemoveIfExists(path + segment.UnfinishedSuffix); err != nil {
		return 0, err
	}
	_, length, _ = disk.Sizes(path)
	return length, nil
}

// CheckVersion returns a *wal.VersionError if a later release wrote the dead letters of a data directory. Every other
// fault is left to the readers of the letters.
func CheckVersion(ctx context.Context, dir string) error {
	path := filepath.Join(dir, segment.DeadName)
	err := reread.Twice(ctx, func() error { return checkNewest(path) })
	if segment.Later(err) {
		return err
	}
	return nil
}

// checkNewest decodes the value of the letter that was stored last. In a file with parts, this letter has the version with
// parts: see letterVersion.
func checkNewest(path string) error {
	return boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) error {
		leaf, _, err := s.LeafOf(bucketDead, segment.NumberKey(math.MaxUint64))
		if err != nil || leaf == nil || len(leaf.Elements) == 0 {
			return err
		}
		e := leaf.Elements[len(leaf.Elements)-1]
		if len(e.Key) != 8 {
			return s.Corrupt("a dead letter's key has %d bytes, want 8", len(e.Key))
		}
		_, err = decodeHead(e.Value, binary.BigEndian.Uint64(e.Key))
		return segment.InFile(path, err)
	})
}
