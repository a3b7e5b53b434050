package small

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// Found are the small commits of a segment after its last transaction.
type Found struct {
	Space
	Commit          // all of them together; an entry of the state that was put twice is there twice, the later one last
	Pages  [][]byte // one for each commit
}

// Read returns the small commits that follow the snapshot's transaction. A page whose checksum is wrong counts if a later one or a
// confirmation shows that it was acked: its blocks and entries have checksums of their own. The error is that of Corrupt if
// such a page cannot be decoded.
func Read(s *boltpage.Snapshot) (f Found, err error) {
	if f.Space, err = Of(s); err != nil || f.Count == 0 {
		return f, err
	}
	all, err := s.Bytes(uint64(f.first/f.pageSize), uint64(f.Count+1))
	if err != nil {
		return f, err
	}
	f.Pages = slices.Collect(slices.Chunk(all, int(f.pageSize)))
	f.Pages = f.Pages[:f.last(s.Tx())]
	for i, page := range f.Pages {
		entries, _ := f.parse(page, aCommit, s.Tx(), i+1)
		if entries == nil || !f.decode(entries) {
			return f, s.Corrupt("small commit %d after transaction %d cannot be decoded", i+1, s.Tx())
		}
	}
	return f, nil
}

// last returns the number of the last commit: its page is good, or confirmed.
func (f *Found) last(tx uint64) int {
	for number := f.Count; number > 0; number-- {
		_, good := f.parse(f.Pages[number-1], aCommit, tx, number)
		_, confirmed := f.parse(f.Pages[number], aConfirmation, tx, number)
		if good || confirmed {
			return number
		}
	}
	return 0
}

// Overlay returns a function that adds the small commits to the buckets of the blocks and of the state, whose names are given.
func Overlay(blocks, state []byte) boltpage.Overlay {
	return func(s *boltpage.Snapshot) (map[string][]boltpage.Element, error) {
		f, err := Read(s)
		if err != nil || len(f.Pages) == 0 {
			return nil, err
		}
		return map[string][]boltpage.Element{string(blocks): f.Blocks, string(state): Latest(f.State)}, nil
	}
}

// After returns the blocks whose numbers are above last.
func After(blocks []boltpage.Element, last uint64) []boltpage.Element {
	for len(blocks) > 0 && binary.BigEndian.Uint64(blocks[0].Key) <= last {
		blocks = blocks[1:]
	}
	return blocks
}

// Latest returns the entries in the order of their keys, and of those with equal keys the last.
func Latest(list []boltpage.Element) []boltpage.Element {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b boltpage.Element) int { return bytes.Compare(a.Key, b.Key) })
	latest := sorted[:0]
	for i, e := range sorted {
		if i+1 == len(sorted) || !bytes.Equal(e.Key, sorted[i+1].Key) {
			latest = append(latest, e)
		}
	}
	return latest
}
