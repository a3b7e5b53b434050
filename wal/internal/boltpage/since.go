package boltpage

import (
	"maps"
	"slices"
)

// Since returns the pages that bbolt can reach from s, and cannot reach from the snapshot older of the same file, in
// ascending order. These are the pages that the transactions after older wrote. The caller has called Check of s without
// an error. Since reads only those pages of older that s does not share.
func (s *Snapshot) Since(older *Snapshot) ([]uint64, error) {
	shared := make(map[uint64]bool)
	if err := older.visitUnshared(older.root, 0, s, shared); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(s.Pages(), func(id uint64) bool { return s.below(id, shared) }), nil
}

// Pages returns the pages that bbolt can reach from s, in ascending order. The caller has called Check without an error.
func (s *Snapshot) Pages() []uint64 { return slices.Sorted(maps.Keys(s.owners)) }

// visitUnshared adds to shared the pages of s that the tree below page id also refers to. It does not read below those: a
// page that both refer to is the same page, with the same pages below it.
func (s *Snapshot) visitUnshared(id, via uint64, newer *Snapshot, shared map[uint64]bool) error {
	if newer.begins(id) {
		shared[id] = true
		return nil
	}
	p, err := s.page(id, via)
	if err != nil {
		return err
	}
	for i, e := range p.Elements {
		child, childVia := e.child, id<<16|uint64(i)
		if p.leaf && !e.Bucket {
			continue
		}
		if p.leaf {
			t, fault := innerTree(p, i)
			if fault != "" {
				return s.Corrupt("page %d: the bucket in element %d: %s", id, i, fault)
			}
			if child = t.root; child == 0 {
				continue
			}
		}
		if err := s.visitUnshared(child, childVia, newer, shared); err != nil {
			return err
		}
	}
	return nil
}

// begins reports whether an element of s refers to page id.
func (s *Snapshot) begins(id uint64) bool {
	via, ok := s.owners[id]
	before, continues := s.owners[id-1]
	return ok && (!continues || before != via)
}

// below reports whether the page, or one above it, is in the set.
func (s *Snapshot) below(id uint64, set map[uint64]bool) bool {
	for range deepest {
		for !s.begins(id) {
			id--
		}
		if set[id] {
			return true
		}
		if id = s.owners[id] >> 16; id == 0 {
			return false
		}
	}
	return false
}
