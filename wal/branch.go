package wal

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/identity"
)

// Branch is a run of a stream's events whose IDs have the same beginning. A copy of a data directory begins a branch when
// it is opened, so that no two events share an ID.
type Branch = identity.Branch

// Branches returns the beginnings of the IDs of the stream's events, ascending by offset. There is at least one. They do
// not change while the log is open.
func (l *Log) Branches(stream string) []Branch { return l.identity.Branches(stream) }

// findCopy begins a branch if the log is a copy: by the record in the newest segment, or because the log had more
// events before.
func (o *opening) findCopy() {
	l := o.log
	if noted, there := identity.NotedEvents(l.dir), l.streams.events(); o.copied == "" && noted > there {
		o.copied = fmt.Sprintf("%d events, and there were %d", there, noted)
	}
	if o.copied == "" || len(o.found.Segments) == 0 {
		return
	}
	held := make(map[string]identity.Held)
	for name, s := range l.streams.all {
		held[name] = identity.Held{Oldest: o.oldestHeld(name), Next: s.next}
	}
	l.identity.BeginBranch(held)
	l.committer.Producers().AcceptLeaps()
	o.stale = append(o.stale, l.committer.Receipts().Clear()...)
	l.opts.Logger.Warn("log is a copy or was restored: new events get ids of their own, and each producer may skip the batches that the copy lacks",
		"found", o.copied, "log", l.identity.Latest())
}

// recordIdentity records the decision of findCopy in the segment that takes appends, unless the segment began with it.
func (o *opening) recordIdentity() error {
	l := o.log
	if l.identity.NoteEvents(l.dir, l.streams.events()); !o.found.Whole || o.copied == "" && o.found.MadeAt != nil && len(o.stale) == 0 {
		return nil
	}
	newest := l.segments.Newest()
	err := newest.Update(func(tx *bolt.Tx) error {
		return errors.Join(l.identity.Put(tx, l.dir), l.writeState(tx), o.putProducers(tx, newest.NotedWith(nil)), o.deleteReceipts(tx))
	})
	if disk.NoSpace(err) { // nothing is appended then either; the next Open tries again
		l.opts.Logger.Warn("identity of the log not recorded", "error", err)
		return nil
	}
	return err
}

// oldestHeld returns the first offset of the stream that the log holds, or the next.
func (o *opening) oldestHeld(stream string) uint64 {
	if seg, sp := o.log.segments.Find(stream, 0); seg != nil {
		return sp.First
	}
	return o.log.streams.all[stream].next
}
