package segfile

import (
	"bytes"
	"fmt"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// smalls are the small commits of the newest segment after its last transaction, see package small. The writer owns it. Any
// goroutine may read the atomic fields.
type smalls struct {
	space  small.Space
	tx     uint64             // the last transaction
	number int                // of the last small commit; 0: there is none
	state  []boltpage.Element // that they put, in their order
	blocks atomic.Pointer[[]boltpage.Element]
	growth atomic.Int64
}

// SmallGrowth returns the most bytes by which the segment grows when its small commits are stored in their buckets, apart from
// the entries of cursors: a checkpoint may write all of these.
func (s *smalls) SmallGrowth() int64 { return s.growth.Load() }

// HasSmall reports whether there are small commits since the last transaction.
func (s *smalls) HasSmall() bool { return s.number > 0 }

func (s *smalls) pending() []boltpage.Element {
	if list := s.blocks.Load(); list != nil {
		return *list
	}
	return nil
}

// add adds a small commit.
func (s *smalls) add(c *small.Commit) {
	list := append(s.pending(), c.Blocks...)
	s.blocks.Store(&list)
	s.state = append(s.state, c.State...)
	growth := int64(0)
	for _, e := range c.Blocks {
		growth += int64(len(e.Value)) + segment.BlockExtra
	}
	for _, e := range c.State {
		if e.Key[0] != segment.StateCursor {
			growth += segment.EntryPages(len(e.Key), len(e.Value))
		}
	}
	s.growth.Add(growth)
}

// clear drops the small commits after a transaction has stored them.
func (s *smalls) clear() {
	s.number, s.state = 0, nil
	s.blocks.Store(nil)
	s.growth.Store(0)
}

// collected are the entries of the state that a small commit puts.
type collected struct {
	entries []boltpage.Element
	free    int  // bytes that are left for them
	unfit   bool // they take more, or an entry was deleted, which a small commit cannot do
}

func (c *collected) Get([]byte) []byte { return nil }

func (c *collected) Put(key, value []byte) error {
	if c.free -= len(key) + len(value); c.free < 0 {
		c.unfit = true
		return nil
	}
	c.entries = append(c.entries, boltpage.Element{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return nil
}

func (c *collected) Delete([]byte) error {
	c.unfit = true
	return nil
}

// Small stores the blocks, and the entries that write puts into the state, as a small commit. When it reports true, everything is on the disk.
// It reports false, and has stored nothing, if that takes more than a page, or a transaction has to come first.
func (f *File) Small(blocks [][]byte, write func(state *segment.StateWriter) error) (stored bool, err error) {
	if f.number == f.space.Count || f.unsure {
		return false, nil
	}
	var c small.Commit
	for i, value := range blocks {
		number := f.last + 1 + uint64(i)
		segment.SealBlock(value, f.Seq, number)
		c.Blocks = append(c.Blocks, boltpage.Element{Key: segment.NumberKey(number), Value: value})
	}
	put := collected{free: f.db.Info().PageSize}
	state := segment.NewStateWriter(&put, f.summed, nil)
	if err := write(&state); err != nil || put.unfit {
		return false, err
	}
	c.State = put.entries
	number := f.number + 1
	page := f.space.Encode(f.tx, number, &c)
	if page == nil {
		return false, nil
	}
	f.unsure = true // unless all of the commit succeeds
	if n, err := f.file.WriteAt(page, f.space.Offset(number)); err != nil {
		return false, &CommitError{Err: fmt.Errorf("write small commit: %w", err), Harmless: n == 0 && disk.WriteFoundNoSpace(err)}
	}
	if err := f.db.Sync(); err != nil {
		return false, &CommitError{Err: fmt.Errorf("sync small commit: %w", err)}
	}
	f.unsure = false
	f.number = number
	f.files.Wrote(int64(len(page)))
	for i := range c.Blocks { // the caller uses its buffers again
		c.Blocks[i].Value = bytes.Clone(c.Blocks[i].Value)
	}
	f.add(&c)
	_, _ = f.file.WriteAt(f.space.Confirmation(f.tx, number), f.space.Offset(number+1)) // without it, Open knows less
	return true, nil
}

// putSmall puts the small commits into their buckets. Each transaction begins with it.
func (f *File) putSmall(tx *bolt.Tx) error {
	if f.number == 0 {
		return nil
	}
	bucket := tx.Bucket(segment.BucketBlocks)
	bucket.FillPercent = 1
	for _, e := range f.pending() {
		segment.AddBlock(&f.next.blocks, e.Key, e.Value)
		if err := bucket.Put(e.Key, e.Value); err != nil {
			return fmt.Errorf("put block %x: %w", e.Key, err)
		}
	}
	if err := bucket.SetSequence(f.last); err != nil {
		return err
	}
	state := f.State(tx)
	for _, e := range small.Latest(f.state) {
		value, err := segment.StateValue(e.Key, e.Value, f.summed)
		if err == nil {
			err = state.Put(e.Key, value)
		}
		if err != nil {
			return fmt.Errorf("put entry of the state: %w", err)
		}
	}
	return nil
}
