package identity

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Branch is a run of a stream's events whose ids have the same beginning.
type Branch struct {
	First uint64 // the offset of its first event
	ID    string // the beginning of its events' ids: the log's id, with the branch's name if it has one
}

// record is a segment's record of its birthplace.
type record struct {
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

// Log is the identity of a log. It does not change while the log is open, except for the noted events.
type Log struct {
	ID string // of the log and of its copies

	branch  string                               // the latest; "": the log was never copied
	streams map[string][]segment.BranchBeginning // of streams that have events of several branches, ascending
	machine map[string]string
	noted   uint64 // events, by NoteEvents; 0: none yet
}

// New returns the identity of a log without an ID and without branches, on this machine.
func New() Log {
	return Log{streams: make(map[string][]segment.BranchBeginning), machine: machine()}
}

// Clear removes all branches.
func (l *Log) Clear() {
	clear(l.streams)
	l.branch = ""
}

// Put records the birthplace in a segment.
func (l *Log) Put(tx *bolt.Tx, dir string) error {
	r := record{Branch: l.branch, Place: birthplace{
		File: birthOf(tx.DB().Path()), Folder: birthOf(dir), Machine: l.machine,
	}}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	return tx.Bucket(segment.BucketMeta).Put(segment.KeyMadeAt, b)
}

// Load loads the record of the newest segment. why is the evidence that the log is a copy; "": there is none.
func (l *Log) Load(value []byte, segment, dir string) (why string) {
	if value == nil {
		return "" // of an older release
	}
	var r record
	if json.Unmarshal(value, &r) != nil {
		return "an unreadable record"
	}
	l.branch = r.Branch
	return r.Place.differs(&birthplace{File: birthOf(segment), Folder: birthOf(dir), Machine: l.machine})
}

// Held is the part of a stream that the log holds.
type Held struct{ Oldest, Next uint64 }

// BeginBranch begins a branch: later events of the streams have IDs that no other copy assigns. It keeps the earlier
// branches that have events in the log.
func (l *Log) BeginBranch(streams map[string]Held) {
	before := l.branch
	l.branch = rand.Text()[:10]
	for name, held := range streams {
		all := l.streams[name]
		if len(all) == 0 && before != "" {
			all = []segment.BranchBeginning{{First: 1, Name: before}}
		}
		all = append(all, segment.BranchBeginning{First: held.Next, Name: l.branch})
		for len(all) > 1 && all[1].First <= held.Oldest {
			all = all[1:]
		}
		l.streams[name] = all
	}
}

// Branches returns the beginnings of the IDs of the stream's events, ascending by offset. There is at least one.
func (l *Log) Branches(stream string) []Branch {
	own := l.streams[stream]
	if len(own) == 0 {
		return []Branch{{First: 1, ID: l.Latest()}}
	}
	var all []Branch
	if own[0].First > 1 {
		all = append(all, Branch{First: 1, ID: l.ID})
	}
	for _, b := range own {
		all = append(all, Branch{First: b.First, ID: branchID(l.ID, b.Name)})
	}
	return all
}

// Latest returns the beginning of the IDs of new events.
func (l *Log) Latest() string { return branchID(l.ID, l.branch) }

func branchID(log, branch string) string {
	if branch == "" {
		return log
	}
	return log + "." + branch
}

// PutBranches puts the streams' branches into a state.
func (l *Log) PutBranches(state *segment.StateWriter) error {
	for name, all := range l.streams {
		if err := state.Put(segment.StateKey(segment.StateBranches, name), segment.AppendBranches(nil, all)); err != nil {
			return fmt.Errorf("put branches: %w", err)
		}
	}
	return nil
}

// LoadBranches loads the stream's entry of a state.
func (l *Log) LoadBranches(stream string, value []byte) error {
	all, err := segment.DecodeBranches(value)
	l.streams[stream] = all
	return err
}

// NoteEvents records the number of events in dir, outside of the files. An older copy that replaces the files has fewer
// events, and is recognized. The recorded number may be too low. For an idle log nothing is written, since each record is
// a write to the file system's journal. Open calls it, then upkeep, then Close.
func (l *Log) NoteEvents(dir string, n uint64) {
	if n != l.noted {
		noteEvents(dir, n)
		l.noted = n
	}
}

// NotedEvents returns the number of events that NoteEvents recorded in dir; 0: there is none.
func NotedEvents(dir string) uint64 { return notedEvents(dir) }
