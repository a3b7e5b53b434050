package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var errWithdrawn = errors.New("wal: the append was withdrawn")

// commit stores the group with one transaction, which syncs twice: the pages, then the meta page.
// When it returns nil everything of the group is on disk. ErrFull says that nothing of it is;
// after any other error the outcome is unknown and the log has failed.
func (c *committer) commit(g *group) error {
	l := c.log
	// The log should not be left with a newest segment that has not begun, and the full segment before it is freed only
	// once it has.
	g.begins = l.active().bare && (c.closed || g.checkpoint && l.fullSince.Load() != nil)
	if g.checkpoint {
		c.collectCursors(g)
	}
	if len(g.parts)+len(g.cursors)+len(g.gone)+len(g.sequences) > 0 || g.begins {
		start := time.Now()
		if err := c.store(g); err != nil {
			g.undo(c)
			return c.failed(g, err)
		}
		c.stored(g, time.Since(start))
		if err := l.sealIfLarge(); err != nil {
			l.fail(err)
		}
	}
	if len(g.cursors) > 0 || g.begins || l.truncateSoon.Swap(false) {
		l.truncator.checkpointed()
	}
	return nil
}

// store is the transaction.
func (c *committer) store(g *group) error {
	active := c.log.active()
	g.lay(&c.packer, active.end)
	var err error
	if g.successor, err = c.log.successor(active, active.used.Load()+c.log.growth(g.bytes())); err != nil {
		return err
	}
	if hook := c.log.opts.beforeCommit; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	if active.bare {
		c.trimRuns()
	}
	if err := c.allocate(g, active); err != nil {
		return &commitError{err: err, harmless: shortage(err)}
	}
	c.limit(g, active)
	if err := active.update(func(tx *bolt.Tx) error { return c.write(g, tx, active) }); err != nil {
		return err
	}
	if hook := c.log.opts.afterCommit; hook != nil {
		return hook()
	}
	return nil
}

// allocate makes room for the group in the newest segment.
func (c *committer) allocate(g *group, active *segment) error {
	if g.need == 0 {
		return nil
	}
	return c.log.allocate(active, g.need, sealAhead)
}

// limit keeps the group from taking the room that is reserved for a checkpoint, the seal and the next segment.
func (c *committer) limit(g *group, active *segment) {
	l := c.log
	size, least := l.limit(), int64(0)
	if g.successor == nil {
		size -= active.sealRoom()
	}
	if g.checkpoint {
		least = l.checkpointRoom()
	} else if !active.bare {
		size -= l.checkpointRoom()
	}
	if active.bare {
		least += l.beginRoom()
	}
	active.limitTo(size, least)
}

// write puts everything of the group into tx, after the log's state when that is the segment's first, and
// before its end when that is the last.
func (c *committer) write(g *group, tx *bolt.Tx, active *segment) error {
	if active.bare {
		if err := c.log.begin(tx); err != nil {
			return err
		}
	}
	if err := g.write(c, tx, active); err != nil || g.successor == nil {
		return err
	}
	return active.writeSeal(tx, g.blocks)
}

// update is a transaction of the newest segment. bbolt's panics and faults on bad pages are contained.
func (s *segment) update(f func(tx *bolt.Tx) error) (err error) {
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
		return &commitError{err: err, harmless: tooLong(err) || spaceOnly(err) && !metaHolds(s.file, s.db.Info().PageSize, uint64(id))}
	}
	return s.measure()
}

// noteMap notes where bbolt has mapped the file anew.
func (s *segment) noteMap() {
	s.remaps = false
	s.base.Store(s.db.Info().Data)
}

// abandon ends a transaction that was not committed, also in a panic. When that panics too, bbolt's
// locks stay taken, and closing the file would wait for them: it is left to the process's end.
func (s *segment) abandon(tx *bolt.Tx) {
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

// commitError is a commit that did not return cleanly.
type commitError struct {
	err      error
	harmless bool // it is certain that nothing was stored, and the next commit may work
}

func (e *commitError) Error() string { return fmt.Sprintf("commit: %v", e.err) }
func (e *commitError) Unwrap() error { return e.err }

// failed decides what an error of store means for the log.
func (c *committer) failed(g *group, err error) error {
	for i := range g.cursors {
		g.cursors[i].failed()
	}
	c.mu.Lock()
	for i := range c.syncs { // the places that they wait for may be among these
		c.syncs[i].until = c.log.dirty.end()
	}
	c.mu.Unlock()
	var ce *commitError
	if errors.As(err, &ce) && ce.harmless {
		full := &FullError{Used: c.log.Stat().Bytes, RetryAfter: retryAfter}
		switch {
		case tooLong(err):
			full.Max = c.log.opts.MaxSize
		case !noSpace(err):
			full.Shortage = ce.err
		}
		c.log.opts.Logger.Warn("commit rejected before anything of it was stored", "cause", full, "error", err)
		c.log.noteFull()
		c.due = time.Now().Add(CheckpointInterval)
		return full
	}
	c.log.fail(err)
	return fmt.Errorf("%w; the outcome of this append is unknown", c.log.Failed())
}

// tooLong reports whether a commit would have made the file longer than limitTo allows. bbolt finds out before it writes.
func tooLong(err error) bool { return errors.Is(err, berrors.ErrMaxSizeReached) }

// spaceOnly tells whether err is a write that found no space. A sync that says so is not: what it
// had to write is lost.
func spaceOnly(err error) bool {
	var pe *os.PathError
	return errors.As(err, &pe) && pe.Op == "write" && noSpace(pe.Err)
}

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

// stored makes the group visible to readers.
func (c *committer) stored(g *group, took time.Duration) {
	l := c.log
	active := l.active()
	active.end = g.end
	index := active.index.Load()
	for _, value := range g.blocks {
		active.last++
		index.addValue(value, active.last)
	}
	if active.bare {
		l.truncator.begun.Store(active.seq)
		poke(l.truncator.wake)
	}
	l.show(g, active, index)
	for i := range g.cursors {
		g.cursors[i].committed()
	}
	c.forgotten = c.forgotten[:0]
	if g.successor != nil {
		l.roll(active, g.successor)
	}
	if g.events > 0 {
		l.noteRoom()
	}
	if f := l.opts.OnCommit; f != nil && g.events > 0 {
		f(CommitInfo{Events: g.events, Bytes: g.bytes(), Duration: took})
	}
}

// show lets readers see the group's events.
func (l *Log) show(g *group, active *segment, index *blockIndex) {
	l.mu.Lock()
	active.bare = false
	for _, p := range g.parts {
		sp := index.span(p.stream.name)
		active.spans[p.stream.name] = sp
		before := l.grow(p.stream, sp.next, sp.after)
		l.flow.Add(sp.after - before)
	}
	l.mu.Unlock()
}

// writeState fills a new segment's state bucket with all that the log knows now.
func (l *Log) writeState(tx *bolt.Tx) error {
	bucket, err := tx.CreateBucketIfNotExists(bucketState)
	if err != nil {
		return fmt.Errorf("create state: %w", err)
	}
	bucket.FillPercent = 1
	state := stateWriter{bucket: bucket, summed: true}
	for _, s := range l.sortedStreams() {
		if !s.stored.Load() {
			continue
		}
		a := s.appended()
		if err := state.Put(stateKey(stateStream, s.name), appendNumbers(nil, a.Events+1, a.Bytes)); err != nil {
			return fmt.Errorf("put stream: %w", err)
		}
	}
	for key, p := range l.committer.producers {
		l.committer.resize(key, p)
		if err := state.Put(stateKey(stateProducer, key.stream, key.id), p.append(nil)); err != nil {
			return fmt.Errorf("put producer: %w", err)
		}
	}
	for _, p := range l.allCursors() {
		p.mu.Lock()
		if !p.kept {
			p.mu.Unlock()
			continue
		}
		value := p.appendLocked(nil)
		p.resizeLocked(len(value))
		p.mu.Unlock()
		if err := state.Put(stateKey(stateCursor, p.stream.name, p.name), value); err != nil {
			return fmt.Errorf("put place: %w", err)
		}
	}
	if err := l.identity.putBranches(&state); err != nil {
		return err
	}
	return nil
}
