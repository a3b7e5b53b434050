package deadletter

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Letter is an event that a destination has rejected permanently.
type Letter struct {
	Stream, Destination string
	Event               segment.Event // with its offset
	Reason              string
	At                  time.Time // when it was rejected
}

// Queue stores dead letters in a file of its own beside the log's segments. A letter outlives the segment of its
// event. The file is created with the first letter, and is replaced by a shorter copy when most of it is free. A
// damaged file is set aside, as a segment is, and a new one is created. The methods may be called from several
// goroutines at once.
type Queue struct {
	path string
	opts Options

	mu           sync.Mutex // guards the fields below, and is held during a commit
	db           *bolt.DB   // nil until it is needed
	file         *os.File   // of db
	mapped       int64      // the length up to which bbolt need not map the file again
	held         int64      // the length that the file may reach
	longest      int64      // bytes of the longest letter of a release before parts; 0: there is none
	closed       bool
	failed       error // of a commit whose outcome is unknown: no write follows it
	stuck        bool  // bbolt panicked and holds its locks
	shrinkFailed bool  // the file could not be shrunk

	reads sync.RWMutex // held by reads, and by commits alone; acquired after mu

	commit func(tx *bolt.Tx) error
	copied func() error // test hook: the copy has not replaced the file yet
}

// Options of a Queue. The zero value has no limit.
type Options struct {
	Budget Budget       // nil: no limit
	Logger hclog.Logger // nil: none

	// OnAside, if set, is called when the file was damaged and has been renamed to path.
	OnAside func(path string, reason error)
}

// Budget limits the file. Its methods may be called from several goroutines at once.
type Budget interface {
	// Max returns the longest length, in bytes, that the file may have.
	Max() int64

	// Hold sets the number of bytes that the file, and a copy of it, may occupy. It reports whether there is room for
	// them; if not, nothing changes.
	Hold(bytes int64) bool
}

// unlimited is the budget of a file without a limit.
type unlimited struct{}

func (unlimited) Max() int64 { return math.MaxInt64 / 2 }

func (unlimited) Hold(int64) bool { return true }

// Open returns the dead letters of a data directory. The file is opened by the first call that needs it.
func Open(dir string, o Options) *Queue {
	if o.Budget == nil {
		o.Budget = unlimited{}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return &Queue{path: filepath.Join(dir, segment.DeadName), opts: o, commit: (*bolt.Tx).Commit, copied: func() error { return nil }}
}

// Put stores the letter under a new ID and returns once it is synced. IDs rise and are never reused. ErrFull: there is no
// room for the letter until letters are dropped. After a disk error it is unknown whether the letter is stored. Unless
// the disk only lacks space, every later Put and Drop fails with the same error: bbolt would continue on top of pages
// that may be lost.
func (q *Queue) Put(letter Letter) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.storeLocked(letter)
	if segment.Damaged(err) {
		q.closeDamagedLocked()
		err = q.storeLocked(letter) // in a new file, if the content of this one is damaged on the disk
	}
	return err
}

// storeLocked opens the file, makes room in it and stores the letter.
func (q *Queue) storeLocked(letter Letter) error {
	q.reads.Lock()
	defer q.reads.Unlock()
	body := letter.appendBody(make([]byte, 0, letter.bodySize()))
	err := q.openLocked()
	if err == nil {
		err = q.reserveLocked(len(body))
	}
	if errors.Is(err, ErrFull) {
		return err
	}
	if err != nil {
		return fmt.Errorf("open dead letters: %w", err)
	}
	if err = q.insertLocked(body); segment.TooLong(err) { // a letter of a release before parts took the room
		p, countErr := q.pagesLocked()
		if countErr != nil {
			return countErr
		}
		return q.fullError(len(body), p)
	}
	return err
}

// insertLocked stores a letter with that body in one commit.
func (q *Queue) insertLocked(body []byte) error {
	return q.updateLocked(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketDead, bucketParts} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return lettersIn(tx).put(body)
	})
}

// Drop removes the letters with these IDs, also damaged ones, and returns once that is synced. It takes one commit, or
// several if they are large or the file has no room for that. It returns the IDs of the letters that existed. After an error
// it is unknown whether any letter is gone.
func (q *Queue) Drop(ids ...uint64) (dropped []uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if there, err := q.openExistingLocked(); err != nil || !there || len(ids) == 0 {
		return nil, err
	}
	if dropped, err = q.dropLocked(ids); err != nil {
		return nil, fmt.Errorf("drop %d dead letters: %w", len(ids), err)
	}
	q.logShrink(q.shrinkLocked()) // the letters are gone; the next Drop tries again
	return dropped, nil
}

// dropLocked removes the letters in commits of as many of them as the room in the file allows.
func (q *Queue) dropLocked(ids []uint64) (dropped []uint64, err error) {
	q.reads.Lock()
	defer q.reads.Unlock()
	lengthened := false
	for most := len(ids); len(ids) > 0; {
		n, some, err := q.deleteLocked(ids[:min(most, len(ids))])
		switch {
		case segment.TooLong(err) && n > 1:
			most = n / 2
			continue
		case segment.TooLong(err) && !lengthened && q.lengthenToDropLocked():
			lengthened = true
			continue
		case err != nil:
			return nil, err
		}
		ids, dropped = ids[n:], append(dropped, some...)
	}
	if q.longest > 0 {
		_ = q.measureLocked() // the letters are gone; the next Drop measures again
	}
	return dropped, nil
}

// commitParts is the number of parts after which a commit removes no further letter: it bounds the memory that bbolt needs
// for the pages of these parts.
const commitParts = 16 << 10

// deleteLocked removes the first n of the letters in one commit, and returns those that existed.
func (q *Queue) deleteLocked(ids []uint64) (n int, dropped []uint64, err error) {
	err = q.updateLocked(func(tx *bolt.Tx) error {
		l := lettersIn(tx)
		for parts := 0; n < len(ids) && parts < commitParts; n++ {
			id := ids[n]
			if l.dead == nil || l.dead.Get(segment.NumberKey(id)) == nil {
				continue
			}
			removed, err := l.delete(id)
			if err != nil {
				return err
			}
			parts, dropped = parts+removed, append(dropped, id)
		}
		return nil
	})
	return n, dropped, err
}

// updateLocked runs f in a transaction and commits it. A panic of bbolt on a bad page becomes an error.
func (q *Queue) updateLocked(f func(tx *bolt.Tx) error) (err error) {
	if q.failed != nil {
		return q.failed
	}
	defer segment.Contain(q.path, 0, &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := q.db.Begin(true)
	if err != nil {
		return err
	}
	defer q.rollbackLocked(tx)
	if err := f(tx); err != nil {
		return err
	}
	id := uint64(tx.ID())
	if err = q.commit(tx); err == nil {
		return nil
	}
	if segment.TooLong(err) {
		return err
	}
	if !disk.WriteFoundNoSpace(err) || boltpage.Reached(q.file, q.db.Info().PageSize, id) {
		q.failed = fmt.Errorf("wal: %s: a commit failed, and none is tried after it: %w", q.path, err)
		return q.failed
	}
	return err
}

// rollbackLocked rolls back a transaction that was not committed, also after a panic. If the rollback panics too,
// bbolt's locks stay held, and the file stays open until the process ends.
func (q *Queue) rollbackLocked(tx *bolt.Tx) {
	if tx.DB() == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			q.stuck, q.failed = true, &segment.CorruptError{File: q.path, Reason: fmt.Sprint("page: ", r)}
		}
	}()
	_ = tx.Rollback() // the error only states whether the transaction was still open
}

// openExistingLocked opens the file if it exists. Otherwise there is no letter.
func (q *Queue) openExistingLocked() (there bool, err error) {
	if q.db == nil && !q.closed {
		if _, err := os.Lstat(q.path); errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
	}
	if err := q.openLocked(); err != nil {
		return false, fmt.Errorf("open dead letters: %w", err)
	}
	return true, nil
}

// Close closes the file. Later calls return ErrClosed. Close may be called twice.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.db == nil || q.stuck {
		return nil
	}
	return q.closeLocked()
}
