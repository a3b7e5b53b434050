package lastcommit

import (
	"errors"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Found is the newest segment as its last whole commit left it.
type Found struct {
	*content

	Doubtful bool   // one of the two meta pages is bad, so that the last commit may be missing
	Torn     uint64 // the transaction of a commit after the last whole one; 0: there is none

	pageSize int64
	unsynced []uint64 // the pages that only the last commit wrote
	kept     int      // the meta page of the last commit
	replaced int      // the other meta page; equal to kept: there is nothing to secure
}

// Check reads the file of a segment that is not open, and finds its last whole commit. It reads the file a second time
// before it reports a torn commit.
//
// Errors: a CorruptError if the segment is damaged; a VersionError or a ReadError.
func Check(path string, seq uint64) (found *Found, err error) {
	for range 2 {
		if found, err = check(path, seq); err != nil || found.Torn == 0 {
			return found, err
		}
	}
	return found, nil
}

// Torn returns the transaction of a torn commit for a tool, also beside a process that writes the file; 0: there is none, or
// the file cannot be read.
func Torn(path string, seq uint64) uint64 {
	f, err := boltpage.Open(path, segment.FileFaults{})
	if err != nil {
		return 0
	}
	defer f.Close()
	before, err := f.ReadMetas()
	if err != nil {
		return 0
	}
	if found, err := Check(path, seq); err == nil && found.Torn > 0 {
		// A commit that came meanwhile may have changed pages of the two before it.
		if after, err := f.ReadMetas(); err == nil && after == before {
			return found.Torn
		}
	}
	return 0
}

func check(path string, seq uint64) (found *Found, err error) {
	f, err := boltpage.Open(path, segment.FileFaults{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := f.Snapshot()
	if err != nil {
		return nil, err
	}
	last, err := read(s, path, seq)
	if err != nil && !segment.Damaged(err) {
		return nil, err
	}
	found = &Found{content: last, Doubtful: s.OneMeta(), pageSize: f.PageSize()}

	// Find the commit before. It is absent if the last one was confirmed.
	other := 0
	if tx, ok := s.Metas().Tx(0); ok && tx == s.Tx() {
		other = 1
	}
	tx, ok := s.Metas().Tx(other)
	if !ok || tx+1 != s.Tx() || last != nil && last.stored == nil {
		return found, found.damage(err)
	}
	f.Before(s.Tx())
	before, err2 := f.Snapshot()
	if err2 != nil {
		return nil, err2
	}

	if last == nil || (!last.matches() || len(last.bad) > 0) && len(last.Small.Pages) == 0 { // small commits follow a whole one only
		older, err2 := read(before, path, seq)
		if err2 != nil && !segment.Damaged(err2) {
			return nil, err2
		}
		if err2 == nil && older.stored != nil && older.plausible() && (last == nil || !last.follows(older) || last.spoils(older)) {
			return &Found{content: older, Torn: s.Tx(), pageSize: f.PageSize(), kept: other, replaced: 1 - other}, nil
		}
	}
	if err := found.damage(err); err != nil {
		return nil, err
	}
	found.kept, found.replaced = 1-other, other
	if found.unsynced, err = s.Since(before); err != nil { // the commit before is unreadable
		found.unsynced = s.Pages()
	}
	return found, nil
}

// Unsynced returns the pages that Secure writes again, without the meta page.
func (f *Found) Unsynced() []uint64 { return f.unsynced }

// damage returns err, or a CorruptError if the digest is wrong.
func (f *Found) damage(err error) error {
	if err == nil && !f.plausible() {
		err = f.snapshot.Corrupt("the digest of the last commit does not match the segment's entries")
	}
	return err
}
