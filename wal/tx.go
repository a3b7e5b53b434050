package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// update is a transaction of the newest segment. bbolt's panics and faults on bad pages are contained.
func (s *segmentFile) update(f func(tx *bolt.Tx) error) (err error) {
	defer contain(s.path, s.base.Load(), &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin commit: %w", err)
	}
	defer s.abandon(tx)
	if s.remaps {
		defer s.noteMap()
	}
	id := tx.ID()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return &commitError{err: err, harmless: tooLong(err) || disk.WriteFoundNoSpace(err) && !metaHolds(s.file, s.db.Info().PageSize, uint64(id))}
	}
	return s.measure()
}

// noteMap notes where bbolt has mapped the file anew.
func (s *segmentFile) noteMap() {
	s.remaps = false
	s.base.Store(s.db.Info().Data)
}

// abandon ends a transaction that was not committed, also in a panic. When that panics too, bbolt's
// locks stay taken, and closing the file would wait for them: it is left to the process's end.
func (s *segmentFile) abandon(tx *bolt.Tx) {
	if tx.DB() == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			s.stuck = true
		}
	}()
	_ = tx.Rollback() // whether it was open still is all that it says
}

// limitTo keeps bbolt from making the file longer than size, or than the used bytes plus least if that is more: where
// MaxSize was lowered below the bytes in use, the commit that needs least is the one that makes room.
func (s *segmentFile) limitTo(size, least int64) {
	s.db.AllocSize = 0 // bbolt would let the file grow by as much
	size = max(size, s.used.Load()+least) + int64(s.db.Info().PageSize)
	s.db.MaxSize = int(min(size, math.MaxInt))
}

// commitError is a commit that did not return cleanly.
type commitError struct {
	err      error
	harmless bool // it is certain that nothing was stored, and the next commit may work
}

func (e *commitError) Error() string { return fmt.Sprintf("commit: %v", e.err) }

func (e *commitError) Unwrap() error { return e.err }

// tooLong reports whether a commit would have made the file longer than limitTo allows. bbolt finds out before it writes.
func tooLong(err error) bool { return errors.Is(err, berrors.ErrMaxSizeReached) }

// metaHolds tells whether a meta page of the file names the transaction, or one after it, or can't
// be read: whether the transaction may have been stored.
func metaHolds(file io.ReaderAt, pageSize int, txid uint64) bool {
	latest, err := latestTx(file, int64(pageSize))
	return err != nil || latest >= txid
}

// latestTx reads the newer of a bbolt file's two meta pages' transaction ids (go.etcd.io/bbolt
// v1.5, internal/common: a page header of 16 bytes, then the meta with txid at 48).
func latestTx(file io.ReaderAt, pageSize int64) (uint64, error) {
	const txidAt = 16 + 48
	var latest uint64
	var b [8]byte
	for page := range int64(2) {
		if _, err := file.ReadAt(b[:], page*pageSize+txidAt); err != nil {
			return 0, fmt.Errorf("read meta page %d: %w", page, err)
		}
		latest = max(latest, binary.NativeEndian.Uint64(b[:]))
	}
	return latest, nil
}
