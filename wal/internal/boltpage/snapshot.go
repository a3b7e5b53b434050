package boltpage

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// SoundFor is how long Sound repeats a read of a file that another process writes.
const SoundFor = 20 * time.Second

// Snapshot is the file as one transaction left it. It is for one goroutine.
type Snapshot struct {
	file  *File
	metas Metas
	tx    uint64 // the transaction
	root  uint64 // the page where the bucket of buckets begins
	end   uint64 // the first page beyond all that are in use; 0: no meta page is valid

	branches map[uint64]*Page
	owners   map[uint64]uint64 // of a page: the element that refers to it

	overlaid bool // overlay is read
	overlay  map[string][]Element
}

// Before makes later snapshots show the file as the transactions before tx left it. The pages of those may have been
// overwritten, except that bbolt never overwrites a page of the last one while it writes the next.
func (f *File) Before(tx uint64) { f.before, f.last = tx, nil }

// Snapshot returns the file as the newest transaction left it.
func (f *File) Snapshot() (*Snapshot, error) {
	m, err := f.ReadMetas()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{file: f, metas: m, branches: make(map[uint64]*Page), owners: make(map[uint64]uint64)}
	for i := range m {
		tx, ok := m.Tx(i)
		if !ok || f.before > 0 && tx >= f.before {
			continue
		}
		if s.end == 0 || tx > s.tx {
			s.tx = tx
			s.root = binary.NativeEndian.Uint64(m[i][metaRoot:])
			s.end = binary.NativeEndian.Uint64(m[i][metaEnd:])
		}
	}
	if s.end == 0 {
		return s, f.corrupt("no meta page is valid")
	}
	return s, nil
}

// Tx returns the number of the transaction that left the file as the snapshot shows it.
func (s *Snapshot) Tx() uint64 { return s.tx }

// Metas returns the meta pages that the file had when the snapshot began.
func (s *Snapshot) Metas() *Metas { return &s.metas }

// OneMeta reports whether one of the two meta pages is not valid, so that the last commit may be missing.
func (s *Snapshot) OneMeta() bool {
	return metaFault(&s.metas[0]) != "" || metaFault(&s.metas[1]) != ""
}

// holds reports whether there was no commit since the snapshot began. In that case every page that the snapshot has
// read is sound. holds also returns true if the meta pages cannot be read.
func (s *Snapshot) holds() bool {
	m, err := s.file.ReadMetas()
	return err != nil || m == s.metas
}

// Try runs read on a snapshot. held is false if a commit came in between: then the result of read and its error must
// be ignored.
func (f *File) Try(read func(*Snapshot) error) (held bool, err error) {
	s := f.last
	if f.last = nil; s == nil {
		s, err = f.Snapshot()
	}
	if s == nil {
		return true, err
	}
	if err == nil {
		err = read(s)
	}
	if held = s.holds(); held && s.end > 0 {
		f.last = s
	}
	return held, err
}

// Sound runs read, and repeats it until no commit came in between. So read may run more than once and should read
// little. Its result counts only after Sound has returned.
func (f *File) Sound(ctx context.Context, read func(*Snapshot) error) error {
	for giveUp := time.Now().Add(SoundFor); ; {
		held, err := f.Try(read)
		if held {
			return err
		}
		if err := f.Expired(ctx, giveUp); err != nil {
			return err
		}
	}
}

// Expired returns an error if ctx has ended or giveUp has passed: the writer commits faster than the file can be read.
func (f *File) Expired(ctx context.Context, giveUp time.Time) error {
	if time.Now().After(giveUp) {
		return fmt.Errorf("read %s: it is written faster than it can be read, tried for %s", f.Path, SoundFor)
	}
	return ctx.Err()
}
