package segfile

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/lastcommit"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// Update runs write in a transaction of the newest segment and commits it. bbolt writes the pages, then the meta page, and
// one sync follows; see syncsTwice for the commits that bbolt syncs after each of the two. When Update returns nil,
// everything is on the disk. If the commit fails, the error is a *CommitError. bbolt's panics and faults on bad pages
// become errors.
func (f *File) Update(write func(tx *bolt.Tx) error) (err error) {
	defer segment.Contain(f.Path, f.base.Load(), &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := f.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin commit: %w", err)
	}
	defer f.abandon(tx)
	if f.remaps {
		defer func() {
			f.remaps = false
			f.base.Store(f.db.Info().Data)
		}()
	}
	id := tx.ID()
	f.next, f.nextRecent, f.sealing = f.stored, f.recent, false
	if err := f.putSmall(tx); err != nil {
		return err
	}
	if err := write(tx); err != nil {
		return err
	}
	twice := f.syncsTwice()
	if err := f.put(tx, f.Seq, twice); err != nil {
		return err
	}
	f.db.NoSync = !twice
	f.unsure = true // unless all of the commit succeeds
	if err := tx.Commit(); err != nil {
		return &CommitError{Err: err, Harmless: segment.TooLong(err) || disk.WriteFoundNoSpace(err) && !boltpage.Reached(f.file, f.db.Info().PageSize, uint64(id))}
	}
	if !twice {
		if err := f.db.Sync(); err != nil {
			return &CommitError{Err: fmt.Errorf("sync: %w", err)}
		}
	}
	f.stored, f.recent, f.unsure = f.next, f.nextRecent, f.creating
	f.smalls.clear()
	stats := tx.Stats()
	f.files.Wrote(stats.GetPageAlloc() + int64(f.db.Info().PageSize) + f.zeros) // the pages of the transaction, and its meta page
	f.zeros = 0
	if f.digested && !f.creating {
		_ = lastcommit.Confirm(f.file, int64(f.db.Info().PageSize), uint64(id)) // without it, Open reads more of the file
	}
	return f.measure()
}

// CommitError is the error of a commit.
type CommitError struct {
	Err      error
	Harmless bool // it is certain that nothing was stored, and the next commit may work
}

func (e *CommitError) Error() string { return fmt.Sprintf("commit: %v", e.Err) }

func (e *CommitError) Unwrap() error { return e.Err }

// abandon rolls back a transaction that was not committed, also after a panic. If the rollback panics too, bbolt's
// locks stay held. Closing the file would wait for them, so it stays open until the process ends.
func (f *File) abandon(tx *bolt.Tx) {
	if tx.DB() == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			f.stuck = true
		}
	}()
	_ = tx.Rollback() // the error only states whether the transaction was still open
}

// LimitTo keeps bbolt from making the file longer than size, or than the used bytes plus least if that is more. The
// latter matters after MaxSize was lowered below the bytes in use: a commit that needs least more bytes is then the one
// that makes room.
func (f *File) LimitTo(size, least int64) {
	f.db.AllocSize = 0 // bbolt would let the file grow by as much
	size = max(size, f.used.Load()+least) + int64(f.db.Info().PageSize)
	f.db.MaxSize = int(min(size, math.MaxInt))
}

// PutBlocks appends the blocks after all others. Small ones are recent while there is room, unless the last leaf is large.
// Otherwise they and the recent ones go to the bucket of blocks, whose pages are filled completely. write of an Update calls it.
func (f *File) PutBlocks(tx *bolt.Tx, blocks [][]byte) error {
	if len(blocks) == 0 {
		return nil
	}
	put := recent.Put
	keep := f.keepsRecent && f.space.Count == 0 && !f.Empty() && f.endsSmall() && f.recent.Fit(tx, blocks)
	if !keep {
		bucket, err := f.moveRecent(tx, f.last)
		if err != nil {
			return err
		}
		if err := bucket.SetSequence(f.last + uint64(len(blocks))); err != nil {
			return err
		}
		put = func(_ *bolt.Tx, number uint64, value []byte) error {
			return bucket.Put(segment.NumberKey(number), value)
		}
	}
	for i, value := range blocks {
		number := f.last + 1 + uint64(i)
		segment.SealBlock(value, f.Seq, number)
		segment.AddBlock(&f.next.blocks, segment.NumberKey(number), value)
		if err := put(tx, number, value); err != nil {
			return fmt.Errorf("put block %d: %w", number, err)
		}
		if keep {
			f.nextRecent = f.nextRecent.With(len(value))
		}
	}
	return nil
}

// PutSeal marks the segment as sealed, and writes its index, with the blocks of the same transaction.
func (f *File) PutSeal(tx *bolt.Tx, blocks [][]byte) error {
	f.sealing = true
	x, number := f.index.Load().Clone(), f.last
	for _, value := range blocks {
		number++
		x.AddValue(value, number)
	}
	_, err := f.moveRecent(tx, number)
	return errors.Join(err, small.Delete(tx), tx.Bucket(segment.BucketMeta).Put(segment.KeySealed, []byte{1}), x.Write(tx, f.Seq))
}
