package receipt

import (
	"cmp"
	"container/list"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Max is the number of receipts that the log keeps.
const Max = 65536

// Receipt states that a batch was stored. A later receipt with the same owner and ID replaces it.
type Receipt struct {
	Owner string // the producer, at most 1,024 bytes; empty: no receipt
	ID    uint64 // of the batch, within its owner
	Sum   uint64 // of the content, so that another batch with the same ID is not taken for this one

	Stream string // of the batch, set by the commit
	First  uint64 // the stream's offset of the first event, set by the commit
}

// entry is a receipt of the set.
type entry struct {
	Receipt
	number uint64 // rises from one receipt to the next
	bytes  int64  // of the state
	place  *list.Element
}

// Set holds the receipts of the log.
type Set struct {
	owners map[string]map[uint64]*entry
	order  *list.List // of *entry, the oldest first
	last   uint64     // number of the newest entry
	bytes  int64
	count  func(bytes int64)
	loaded []*entry // before Count
}

// NewSet returns an empty set. It calls count with the bytes by which its part of the state grows.
func NewSet(count func(bytes int64)) *Set {
	return &Set{owners: make(map[string]map[uint64]*entry), order: list.New(), count: count}
}

// Of returns the receipts of an owner, the oldest first.
func (s *Set) Of(owner string) (all []Receipt) {
	entries := slices.SortedFunc(maps.Values(s.owners[owner]), func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	for _, e := range entries {
		all = append(all, e.Receipt)
	}
	return all
}

// NewBytes returns the bytes that the receipt of a batch adds to the state.
func (s *Set) NewBytes(r *Receipt) int64 {
	if before := s.owners[r.Owner][r.ID]; before != nil {
		return max(0, entryBytes(r)-before.bytes)
	}
	return entryBytes(r)
}

// Changes are the receipts that a commit changes, in the order of the changes.
type Changes []change

// change is the receipt with an owner and an ID, as it was before.
type change struct {
	owner  string
	id     uint64
	before *entry // nil: there was none
}

// Put records a receipt of a batch that is about to be committed, and evicts the oldest ones if there are more than Max, or they
// take more than mostBytes.
func (s *Set) Put(changes *Changes, r Receipt, mostBytes int64) {
	r.Owner = strings.Clone(r.Owner)
	s.last++
	s.replace(changes, r.Owner, r.ID, &entry{Receipt: r, number: s.last})
	for s.order.Len() > Max || s.bytes > mostBytes && s.order.Len() > 1 {
		oldest := s.order.Front().Value.(*entry)
		s.replace(changes, oldest.Owner, oldest.ID, nil)
	}
}

// Remove records that receipts of an owner are discarded: those with the IDs, or all if there are none.
func (s *Set) Remove(changes *Changes, owner string, ids []uint64) {
	if len(ids) == 0 {
		ids = slices.Collect(maps.Keys(s.owners[owner]))
	}
	for _, id := range ids {
		if s.owners[owner][id] != nil {
			s.replace(changes, owner, id, nil)
		}
	}
}

// replace puts e in the place of the receipt with that owner and ID, and adds that to the changes. nil: there is none then.
func (s *Set) replace(changes *Changes, owner string, id uint64, e *entry) {
	before := s.owners[owner][id]
	*changes = append(*changes, change{owner, id, before})
	s.remove(before)
	s.add(e)
}

// add adds an entry behind the older ones.
func (s *Set) add(e *entry) {
	if e == nil {
		return
	}
	of := s.owners[e.Owner]
	if of == nil {
		of = make(map[uint64]*entry)
		s.owners[e.Owner] = of
	}
	of[e.ID] = e
	after := s.order.Back()
	for after != nil && after.Value.(*entry).number > e.number {
		after = after.Prev()
	}
	if after == nil {
		e.place = s.order.PushFront(e)
	} else {
		e.place = s.order.InsertAfter(e, after)
	}
	e.bytes = entryBytes(&e.Receipt)
	s.addBytes(e.bytes)
}

// remove removes an entry.
func (s *Set) remove(e *entry) {
	if e == nil {
		return
	}
	s.order.Remove(e.place)
	delete(s.owners[e.Owner], e.ID)
	if len(s.owners[e.Owner]) == 0 {
		delete(s.owners, e.Owner)
	}
	s.addBytes(-e.bytes)
}

func (s *Set) addBytes(n int64) {
	s.bytes += n
	s.count(n)
}

// Undo restores the receipts that a failed commit changed.
func (s *Set) Undo(changes Changes) {
	for _, c := range slices.Backward(changes) {
		s.remove(s.owners[c.owner][c.id])
		s.add(c.before)
	}
}

// Write writes the changed receipts.
func (s *Set) Write(changes Changes, state *segment.StateWriter) error {
	for _, c := range changes {
		e, err := s.owners[c.owner][c.id], error(nil)
		if e != nil {
			err = put(e, state)
		} else {
			err = state.Delete(key(c.owner, c.id))
		}
		if err != nil {
			return fmt.Errorf("write receipt: %w", err)
		}
	}
	return nil
}

// PutAll writes all receipts into the state of a segment that begins.
func (s *Set) PutAll(state *segment.StateWriter) error {
	for _, of := range s.owners {
		for _, e := range of {
			if err := put(e, state); err != nil {
				return fmt.Errorf("put receipt: %w", err)
			}
		}
	}
	return nil
}

// Load adds a receipt with its entry of a segment's state. Count completes it.
func (s *Set) Load(owner, id string, value []byte) error {
	e := &entry{}
	if err := e.decode(owner, id, value); err != nil {
		return err
	}
	s.loaded = append(s.loaded, e)
	return nil
}

// Reset drops the loaded receipts, before Count.
func (s *Set) Reset() { s.loaded = nil }

// Clear drops all receipts. Write deletes their entries.
func (s *Set) Clear() (dropped Changes) {
	for _, owner := range slices.Collect(maps.Keys(s.owners)) {
		s.Remove(&dropped, owner, nil)
	}
	return dropped
}

// Count adds the loaded receipts, and counts their bytes.
func (s *Set) Count() {
	slices.SortFunc(s.loaded, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	for _, e := range s.loaded {
		s.remove(s.owners[e.Owner][e.ID])
		s.add(e)
		s.last = e.number
	}
	s.loaded = nil
}
