package wal

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// putMeta writes the head of a new segment.
func (l *Log) putMeta(tx *bolt.Tx, seq uint64) error {
	return segment.PutMeta(tx, l.identity.ID, seq, l.streams.base)
}

// beginState puts the log's state into an empty segment, without the producers.
func (l *Log) beginState(tx *bolt.Tx) error {
	_, err := tx.CreateBucket(segment.BucketBlocks)
	return errors.Join(err, l.identity.Put(tx, l.dir), l.writeState(tx))
}

// putProducers puts all producers into the state bucket of a segment. noted is the number of the segment's last block with
// notes of producers.
func (o *opening) putProducers(tx *bolt.Tx, noted uint64) error {
	state := segment.NewStateWriter(tx.Bucket(segment.BucketState), true, nil)
	return o.log.committer.Producers().PutAll(&state, noted)
}

// deleteReceipts deletes the stale receipts from the state bucket of a segment.
func (o *opening) deleteReceipts(tx *bolt.Tx) error {
	state := segment.NewStateWriter(tx.Bucket(segment.BucketState), true, nil)
	return o.log.committer.Receipts().Write(o.stale, &state)
}

// writeState fills the state bucket of a segment with the present state of the log, without the producers.
func (l *Log) writeState(tx *bolt.Tx) error {
	bucket, err := tx.CreateBucketIfNotExists(segment.BucketState)
	if err != nil {
		return fmt.Errorf("create state: %w", err)
	}
	bucket.FillPercent = 1
	state := segment.NewStateWriter(bucket, true, nil) // the segment calculates its digest in such a commit
	for _, s := range l.streams.sorted() {
		if !s.stored.Load() {
			continue
		}
		a := s.appended()
		if err := state.Put(segment.StateKey(segment.StateStream, s.name), segment.StreamState{Next: a.Events + 1, Bytes: a.Bytes}.Append(nil)); err != nil {
			return fmt.Errorf("put stream: %w", err)
		}
	}
	for _, p := range l.streams.cursors() {
		p.mu.Lock()
		if !p.inState {
			p.mu.Unlock()
			continue
		}
		value := p.at.Append(nil)
		p.resizeLocked(len(value))
		p.mu.Unlock()
		if err := state.Put(segment.StateKey(segment.StateCursor, p.stream.name, p.name), value); err != nil {
			return fmt.Errorf("put cursor: %w", err)
		}
	}
	return errors.Join(l.identity.PutBranches(&state), l.committer.Receipts().PutAll(&state))
}
