package wal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/internal/commit"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/receipt"
	"github.com/standpipe/standpipe/wal/internal/recovery"
	"github.com/standpipe/standpipe/wal/internal/roll"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// opening is an Open under way.
type opening struct {
	log    *Log
	found  *recovery.Result
	copied string // the evidence that the log is a copy; "": there is none
	stale  receipt.Changes
}

// recover loads the log from the directory, and makes the newest segment ready for appends. It changes no file before
// it has read all: if the disk cannot be read now, or a later release wrote the log, the directory stays as it is.
func (l *Log) recover(ctx context.Context) (err error) {
	marked := l.truncator.FindMarker(l.dir)
	o := opening{log: l}
	scan := recovery.Options{
		Dir: l.dir, Files: &l.files, Logger: l.opts.Logger, Marked: marked,
		SegmentSize: l.opts.SegmentSize, MaxSize: l.opts.MaxSize, LargestCommit: commit.LargestCommit,
	}
	if o.found, err = recovery.Scan(ctx, scan, &loadedState{log: l}); err != nil {
		return err
	}
	if err := deadletter.CheckVersion(ctx, l.opts.Dir); err != nil {
		return err
	}
	if err := o.found.Apply(scan); err != nil {
		return err
	}
	o.addSegments()
	o.finishState()
	l.streams.countState()
	if o.found.Incomplete {
		l.committer.Producers().AcceptAny()
	}
	if o.found.Lost > 0 {
		o.skipLost(uint64(o.found.Lost) / segment.LeastFrame * o.found.Missing())
	}
	o.findCopy()
	if err := o.resume(); err != nil {
		return err
	}
	if err := o.recordIdentity(); err != nil {
		return fmt.Errorf("record the log's identity: %w", err)
	}
	l.truncator.SearchLater()
	l.committer.Touch(CheckpointInterval)
	if newest := l.segments.Newest().Seq; newest != marked {
		l.truncator.Mark(newest)
		return l.lock.Sync()
	}
	return nil
}

// addSegments adds the readable segments to the log, and loads its identity.
func (o *opening) addSegments() {
	l := o.log
	for _, s := range o.found.Segments {
		l.segments.Load(s.File, s.Spans, s.Gapped)
	}
	l.identity.ID, l.streams.base = o.found.ID, o.found.Base
	if l.identity.ID == "" {
		l.identity.ID = newID()
	}
	if n := len(o.found.Segments); n > 0 {
		o.copied = l.identity.Load(o.found.MadeAt, o.found.Segments[n-1].Path, l.dir)
	}
}

// loadedState puts the entries of the newest segment's state into the log.
type loadedState struct {
	log *Log
	seq uint64 // of the segment
}

// Reset implements recovery.State.
func (l *loadedState) Reset(base uint64) {
	l.log.identity.Clear()
	clear(l.log.streams.all)
	l.log.committer.Producers().Clear()
	l.log.committer.Receipts().Reset()
	l.log.streams.base = base
}

// Begin implements recovery.State.
func (l *loadedState) Begin(seq uint64) { l.seq = seq }

// Load implements recovery.State.
func (l *loadedState) Load(kind byte, names []string, v []byte) error {
	if kind == segment.StateReceipt && len(names) == 2 {
		return l.log.committer.Receipts().Load(names[0], names[1], v)
	}
	s := l.log.streams.get(names[0])
	switch {
	case kind == segment.StateStream:
		var stood segment.StreamState
		err := stood.Decode(v)
		s.next, s.bytes, s.base = stood.Next, stood.Bytes, 0
		s.stored.Store(s.next > 1)
		return err
	case kind == segment.StateCursor && len(names) == 2:
		p := &Cursor{log: l.log, stream: s, name: names[1]}
		s.cursors[p.name] = p
		return p.at.Restore(v)
	case kind == segment.StateBranches:
		return l.log.identity.LoadBranches(names[0], v)
	case kind == segment.StateProducer && len(names) == 2:
		return l.log.committer.Producers().Load(l.seq, producer.Key{ID: names[1], Stream: names[0]}, v)
	}
	return nil // an entry of a later release
}

// Replay implements recovery.State.
func (l *loadedState) Replay(b *segment.Block, n *segment.Note) {
	l.log.committer.Producers().Replay(l.seq, b.Stream, n, b.Number, b.At())
}

// finishState adds the blocks that were stored after the state.
func (o *opening) finishState() {
	o.log.segments.EachSpan(func(stream string, sp segment.Span) {
		s := o.log.streams.get(stream)
		s.stored.Store(true)
		if sp.Next > s.next {
			s.next, s.bytes = sp.Next, sp.After
		}
	})
	for _, s := range o.log.streams.all {
		for _, p := range s.cursors {
			p.noteAbsent()
		}
	}
}

// noteAbsent counts every event of the stream as possibly undelivered if some were absent when the destination was
// added: the log does not store which ones.
func (p *Cursor) noteAbsent() {
	if p.at.Ledger.Dropped[DroppedAbsent].Events == 0 {
		return
	}
	for lane := range p.at.Lost {
		p.at.Lost[lane] = p.stream.next
	}
}

// skipLost ensures that no offset is used twice after the newest segment was lost. It moves the next offset of every
// stream by the most events that the segment can have held. This includes new streams, since the lost segment may have
// been the only one with their events. The gap counts as appended and as dropped. The last batches of the producers are
// unknown, so each may continue with any sequence number.
func (o *opening) skipLost(events uint64) {
	for _, s := range o.log.streams.all {
		s.mu.Lock()
		s.next += events
		s.base += events
		o.log.streams.countLocked(s) // the lost segment may have had its first event
		s.mu.Unlock()
	}
	o.log.streams.base += events
	o.log.opts.Logger.Error("the newest segment is lost, or the end of it may be: its events are unknown, and no offset that it may have had is used again",
		"skipped", events)
	o.log.committer.Producers().AcceptAny()
	o.stale = o.log.committer.Receipts().Clear()
}

// resume makes the newest segment writable, or begins a new one, and counts lost events.
func (o *opening) resume() error {
	l := o.log
	newest := roll.Found{Whole: o.found.Whole, Continued: o.found.Continued, Ready: o.found.Ready, Last: o.found.Last, Lost: o.found.Lost > 0}
	begin := func(tx *bolt.Tx) error { return errors.Join(l.beginState(tx), o.putProducers(tx, 0)) }
	if err := l.roller.Resume(newest, begin); err != nil {
		return err
	}
	producers := l.committer.Producers()
	producers.Opened(l.segments.Newest().Seq, !o.found.Whole)
	l.capacity.Carry.Set(producers.Left())
	if err := l.capacity.Allocate(l.segments.Newest(), 0, 0); err != nil && !disk.Shortage(err) {
		return err
	}
	var err error
	l.damage.later, err = l.damage.reconcileAll()
	return err
}

func newID() string { return rand.Text() }
