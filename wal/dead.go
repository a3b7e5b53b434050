package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Dead is a dead letter: an event that a destination refused for good.
type Dead struct {
	Stream, Destination string
	Event               Event // with its offset
	Reason              string
	At                  time.Time // when it was refused
}

// DeadLetters keeps dead letters in a file of its own beside the log's segments, which they
// outlive. The file appears with the first of them.
type DeadLetters struct {
	path string
	mu   sync.Mutex
	db   *bolt.DB // nil before the first
}

var bucketDead = []byte("dead")

// OpenDead returns the dead letters of a data directory. It opens nothing yet.
func OpenDead(dir string) *DeadLetters {
	return &DeadLetters{path: filepath.Join(dir, "dead.db")}
}

// Bury stores d and returns once it is synced.
func (d *DeadLetters) Bury(letter Dead) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer contain(d.path, &err)
	if err := d.openLocked(); err != nil {
		return fmt.Errorf("open dead letters: %w", err)
	}
	return d.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketDead)
		if err != nil {
			return err
		}
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		return b.Put(offsetKey(n), letter.append(nil))
	})
}

func (d *DeadLetters) openLocked() error {
	if d.db != nil {
		return nil
	}
	_, err := os.Lstat(d.path)
	fresh := errors.Is(err, os.ErrNotExist)
	if d.db, err = openBolt(d.path, &bolt.Options{}); err != nil {
		return err
	}
	if fresh {
		return syncDir(filepath.Dir(d.path))
	}
	return nil
}

// Close lets go of the file. It may be called twice.
func (d *DeadLetters) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.db == nil {
		return nil
	}
	err := d.db.Close()
	d.db = nil
	return err
}

// append encodes the letter: version, stream, destination, offset, time of refusal, reason, and the
// event as the log's blocks have it.
func (d *Dead) append(b []byte) []byte {
	b = append(b, 1)
	b = appendText(b, d.Stream)
	b = appendText(b, d.Destination)
	b = binary.AppendUvarint(b, d.Event.Offset)
	b = binary.AppendUvarint(b, unixNano(d.At))
	b = appendText(b, d.Reason)
	return appendFrame(b, &d.Event, d.Event.Lane)
}
