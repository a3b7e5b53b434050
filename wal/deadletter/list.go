package deadletter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Stat is the entry of a dead letter in a list: everything but its data and attributes.
type Stat struct {
	ID                  uint64
	Stream, Destination string
	Offset              uint64
	Key                 string
	Bytes               int // of its data
	Reason              string
	At                  time.Time // when it was rejected
	Damage              error     // a *wal.CorruptError or a *wal.VersionError: of the fields above, only ID is set
}

// Query selects dead letters. The zero value selects the first MaxList of all letters.
type Query struct {
	Stream, Destination string // empty: any. A damaged letter belongs to none.
	After, Until        uint64 // ids beyond After and up to Until; 0: no bound
	Limit               int    // the most to return; 0: MaxList, which is also the most
}

// MaxList is the most letters that one List returns.
const MaxList = 1000

// A scan is a read transaction, which keeps bbolt from reusing pages. So it ends after this many letters or bytes, and
// the next scan continues.
const (
	scanLetters = 1000
	scanBytes   = 4 << 20
)

// List returns the letters of the query in the order of their IDs, which is the order in which they were stored. It
// holds the data of one letter at a time. A letter that cannot be read is listed with its Damage.
// Errors: a *wal.CorruptError if the file itself cannot be read; ErrClosed; the error of ctx.
func (q *Queue) List(ctx context.Context, query Query) (letters []Stat, err error) {
	if query.Limit <= 0 || query.Limit > MaxList {
		query.Limit = MaxList
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := scan{query: query, path: q.path, letters: letters}
		if err := q.view(s.run); err != nil {
			return nil, err
		}
		letters = s.letters
		if s.end || len(letters) == query.Limit {
			return letters, nil
		}
		query.After = s.last
	}
}

// scan is one transaction's part of a List.
type scan struct {
	query   Query
	path    string
	letters []Stat
	last    uint64 // the last ID that was read
	end     bool   // there are no more
	buf     []byte // for the parts of a letter
}

func (s *scan) run(l letters) error {
	s.end = true
	if l.dead == nil || s.query.After == math.MaxUint64 {
		return nil
	}
	seen, bytes := 0, 0
	c := l.dead.Cursor()
	k, v := c.Seek(segment.NumberKey(s.query.After + 1))
	for ; k != nil; k, v = c.Next() {
		if len(k) != 8 {
			return &segment.CorruptError{File: s.path, Reason: fmt.Sprintf("a dead letter's key has %d bytes, want 8", len(k))}
		}
		id := binary.BigEndian.Uint64(k)
		if s.query.Until > 0 && id > s.query.Until {
			return nil
		}
		if seen == scanLetters || bytes >= scanBytes || len(s.letters) == s.query.Limit {
			s.end = false
			return nil
		}
		body, err := l.body(id, v, &s.buf)
		seen, bytes, s.last = seen+1, bytes+len(v)+len(body), id
		s.add(id, body, err)
	}
	return nil
}

// add adds a letter with that body to the list, or the error of reading it.
func (s *scan) add(id uint64, body []byte, err error) {
	var letter Letter
	if err == nil {
		err = letter.decodeBody(body)
	}
	if err != nil {
		if s.query.Stream == "" && s.query.Destination == "" {
			s.letters = append(s.letters, Stat{ID: id, Damage: damagedLetter(s.path, id, err)})
		}
		return
	}
	if matches(s.query.Stream, letter.Stream) && matches(s.query.Destination, letter.Destination) {
		s.letters = append(s.letters, letter.stat(id))
	}
}

func matches(want, got string) bool { return want == "" || want == got }

func damagedLetter(path string, id uint64, err error) error {
	return segment.InFile(path, fmt.Errorf("dead letter %d: %w", id, err))
}

// Get returns a letter with its data and attributes. Errors: ErrNotFound; a *wal.CorruptError; ErrClosed.
func (q *Queue) Get(id uint64) (letter Letter, err error) {
	var body, parts []byte
	err = q.view(func(l letters) error {
		var value []byte
		if l.dead != nil {
			value = l.dead.Get(segment.NumberKey(id))
		}
		if value == nil {
			return fmt.Errorf("%w: id %d", ErrNotFound, id)
		}
		found, err := l.body(id, value, &parts)
		if err != nil {
			return damagedLetter(q.path, id, err)
		}
		if body = parts; len(parts) == 0 { // the body lies in the mapped file
			body = slices.Clone(found)
		}
		return nil
	})
	if err != nil {
		return Letter{}, err
	}
	if err := letter.decodeBody(body); err != nil {
		return Letter{}, damagedLetter(q.path, id, err)
	}
	return letter, nil
}

// LastID returns the highest ID of a letter, 0 if there is none.
func (q *Queue) LastID() (id uint64, err error) {
	err = q.view(func(l letters) error {
		if l.dead == nil {
			return nil
		}
		if k, _ := l.dead.Cursor().Last(); len(k) == 8 {
			id = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return id, err
}

// view runs f in a read transaction. No commit is under way then, which would find the pages of the transaction in use.
func (q *Queue) view(f func(l letters) error) error {
	for {
		q.mu.Lock()
		there, err := q.openExistingLocked()
		db := q.db
		q.mu.Unlock()
		if err != nil || !there {
			if err == nil {
				err = f(letters{})
			}
			return err
		}
		q.reads.RLock()
		err = segment.ViewBolt(db, q.path, 0, func(tx *bolt.Tx) error { return f(lettersIn(tx)) })
		q.reads.RUnlock()
		if !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return err
		}
		// The file was closed, replaced or mapped again before f was called. The next iteration opens it, or returns
		// segment.ErrClosed.
	}
}
