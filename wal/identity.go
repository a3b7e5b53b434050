package wal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Two events must never share an ID, even if a data directory is copied and both copies take events, or if an older
// copy replaces a log whose later events were delivered. An offset alone does not distinguish such events, so the log
// has branches. A copy begins a branch of its own when it is opened, and an event's ID names the branch in which it was
// appended. Events from before the copy was made keep their IDs: both copies hold the same event.
//
// Open treats the directory as a copy if a property that is not copied with the files differs from the record in the
// newest segment. These properties are the inode and the birth time of the file and of the folder, and the machine's
// ID, serial number and network cards. A missing property is not compared. A host name or an address does not count,
// nor does a restart, or a rename of the directory. Open also treats it as a copy if the folder's extended attribute
// has a higher number of events than the log. A directory that is wrongly treated as a copy begins a branch too, which
// does no harm.
//
// The record of the segment's birthplace is in the meta bucket. The offsets at which the branches begin are in the
// state, under the stream's name. A stream that has events of the latest branch only has no such entry.

// Branch is a run of a stream's events whose ids have the same beginning.
type Branch struct {
	First uint64 // the offset of its first event
	ID    string // the beginning of its events' ids: the log's id, with the branch's name if it has one
}

// identityRecord is a segment's record of its birthplace.
type identityRecord struct {
	Branch string     `json:"branch,omitempty"` // the latest; empty: the log was never copied
	Place  birthplace `json:"place"`
}

// birthplace holds properties that are not copied with the files. An unknown one is empty.
type birthplace struct {
	File    string            `json:"file,omitempty"`   // the segment's
	Folder  string            `json:"folder,omitempty"` // of the segments
	Machine map[string]string `json:"machine,omitempty"`
}

// differs names a property which shows that now is not the birthplace in the record; "": there is none.
func (b *birthplace) differs(now *birthplace) string {
	switch {
	case b.Folder != "" && now.Folder != "" && b.Folder != now.Folder:
		return "another folder"
	case b.File != "" && now.File != "" && b.File != now.File:
		return "another file"
	}
	for what, then := range b.Machine {
		if here := now.Machine[what]; here != "" && then != "" && !shareWord(then, here) {
			return "another " + what
		}
	}
	return ""
}

// shareWord reports whether a and b have a word in common: a machine may have a new network card besides the old ones.
func shareWord(a, b string) bool {
	return slices.ContainsFunc(strings.Fields(a), func(word string) bool { return slices.Contains(strings.Fields(b), word) })
}

// identity holds the log's branches.
type identity struct {
	branch  string                               // the latest; "" when the log was never copied
	streams map[string][]segment.BranchBeginning // of streams that have events of several branches, ascending
	machine map[string]string
	noted   uint64 // events, by noteEvents; 0: none yet
}

// put records the birthplace in a segment.
func (i *identity) put(tx *bolt.Tx, dir string) error {
	record := identityRecord{Branch: i.branch, Place: birthplace{
		File: birthOf(tx.DB().Path()), Folder: birthOf(dir), Machine: i.machine,
	}}
	b, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	return tx.Bucket(segment.BucketMeta).Put(segment.KeyMadeAt, b)
}

// load loads the record of the newest segment. why is the evidence that the log is a copy; "": there is none.
func (i *identity) load(value []byte, segment, dir string) (why string) {
	if value == nil {
		return "" // of an older release
	}
	var record identityRecord
	if json.Unmarshal(value, &record) != nil {
		return "an unreadable record"
	}
	i.branch = record.Branch
	return record.Place.differs(&birthplace{File: birthOf(segment), Folder: birthOf(dir), Machine: i.machine})
}

// branchOut begins a branch: events that are appended from now on have IDs that no other copy assigns. It keeps the
// earlier branches to which events in the log belong. Open calls it.
func (r *recovery) branchOut() {
	before := r.log.identity.branch
	r.log.identity.branch = rand.Text()[:10]
	for name, s := range r.log.streams.all {
		all := r.log.identity.streams[name]
		if len(all) == 0 && before != "" {
			all = []segment.BranchBeginning{{First: 1, Name: before}}
		}
		all = append(all, segment.BranchBeginning{First: s.next, Name: r.log.identity.branch})
		oldest := r.oldestHeld(name)
		for len(all) > 1 && all[1].First <= oldest {
			all = all[1:]
		}
		r.log.identity.streams[name] = all
	}
	r.log.committer.producers.AcceptLeaps()
}

// oldestHeld returns the first offset of the stream that the log holds, or the next.
func (r *recovery) oldestHeld(stream string) uint64 {
	for _, seg := range r.log.segments.all {
		if sp, ok := seg.spans[stream]; ok {
			return sp.First
		}
	}
	return r.log.streams.all[stream].next
}

// Branches returns the beginnings of the IDs of the stream's events, ascending by offset. There is at least one. They
// do not change while the log is open.
func (l *Log) Branches(stream string) []Branch {
	own, id := l.identity.streams[stream], l.id
	if len(own) == 0 {
		return []Branch{{First: 1, ID: branchID(id, l.identity.branch)}}
	}
	var all []Branch
	if own[0].First > 1 {
		all = append(all, Branch{First: 1, ID: id})
	}
	for _, b := range own {
		all = append(all, Branch{First: b.First, ID: branchID(id, b.Name)})
	}
	return all
}

func branchID(log, branch string) string {
	if branch == "" {
		return log
	}
	return log + "." + branch
}

// putBranches puts the streams' branches into a state.
func (i *identity) putBranches(state *segment.StateWriter) error {
	for name, all := range i.streams {
		if err := state.Put(segment.StateKey(segment.StateBranches, name), segment.AppendBranches(nil, all)); err != nil {
			return fmt.Errorf("put branches: %w", err)
		}
	}
	return nil
}

// findCopy begins a branch if the log is a copy: by the record in the newest segment, or because the log had more
// events before.
func (r *recovery) findCopy() {
	l := r.log
	if noted, there := notedOutside(l.dir), l.streams.events(); r.copied == "" && noted > there {
		r.copied = fmt.Sprintf("%d events, and there were %d", there, noted)
	}
	if r.copied == "" || len(l.segments.all) == 0 {
		return
	}
	r.branchOut()
	l.opts.Logger.Warn("log is a copy or was restored: new events get ids of their own, and each producer may leave out what the copy lacks",
		"found", r.copied, "log", branchID(l.id, l.identity.branch))
}

// recordIdentity records the decision of findCopy in the segment that takes appends, unless the segment began with it.
func (r *recovery) recordIdentity() error {
	l := r.log
	if l.identity.noteEvents(l.dir, l.streams.events()); !r.whole || r.copied == "" && r.recorded {
		return nil
	}
	err := l.segments.active().Update(func(tx *bolt.Tx) error {
		return errors.Join(l.identity.put(tx, l.dir), l.roller.writeState(tx))
	})
	if disk.NoSpace(err) { // nothing is appended then either; the next Open tries again
		l.opts.Logger.Warn("identity of the log not recorded", "error", err)
		return nil
	}
	return err
}

// noteEvents records the number of events in dir, outside of the files. An older copy that replaces the files has fewer
// events, and is recognized. The recorded number may be too low. For an idle log nothing is written, since each record
// is a write to the file system's journal. Open calls it, then upkeep, then Close.
func (i *identity) noteEvents(dir string, n uint64) {
	if n != i.noted {
		noteOutside(dir, n)
		i.noted = n
	}
}
