package wal

import (
	"fmt"
	"math"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// update runs f in a transaction of the newest segment and commits it. bbolt's panics and faults on bad pages become
// errors.
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
		return &commitError{err: err, harmless: segment.TooLong(err) || disk.WriteFoundNoSpace(err) && !boltpage.Reached(s.file, s.db.Info().PageSize, uint64(id))}
	}
	return s.measure()
}

// noteMap records where bbolt has mapped the file again.
func (s *segmentFile) noteMap() {
	s.remaps = false
	s.base.Store(s.db.Info().Data)
}

// abandon rolls back a transaction that was not committed, also after a panic. If the rollback panics too, bbolt's
// locks stay held. Closing the file would wait for them, so it stays open until the process ends.
func (s *segmentFile) abandon(tx *bolt.Tx) {
	if tx.DB() == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			s.stuck = true
		}
	}()
	_ = tx.Rollback() // the error only states whether the transaction was still open
}

// limitTo keeps bbolt from making the file longer than size, or than the used bytes plus least if that is more. The
// latter matters after MaxSize was lowered below the bytes in use: a commit that needs least more bytes is then the one
// that makes room.
func (s *segmentFile) limitTo(size, least int64) {
	s.db.AllocSize = 0 // bbolt would let the file grow by as much
	size = max(size, s.used.Load()+least) + int64(s.db.Info().PageSize)
	s.db.MaxSize = int(min(size, math.MaxInt))
}

// commitError is the error of a commit.
type commitError struct {
	err      error
	harmless bool // it is certain that nothing was stored, and the next commit may work
}

func (e *commitError) Error() string { return fmt.Sprintf("commit: %v", e.err) }

func (e *commitError) Unwrap() error { return e.err }
