package wal

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// update is a transaction of the newest segment. bbolt's panics and faults on bad pages are contained.
func (s *segmentFile) update(f func(tx *bolt.Tx) error) (err error) {
	defer segment.Contain(s.path, s.base.Load(), &err)
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
		return &commitError{err: err, harmless: tooLong(err) || disk.WriteFoundNoSpace(err) && !boltpage.Reached(s.file, s.db.Info().PageSize, uint64(id))}
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
