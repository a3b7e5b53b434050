package lastcommit

import (
	"bytes"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/digest"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// content is the content of the newest segment as one commit left it.
type content struct {
	snapshot *boltpage.Snapshot
	path     string
	seq      uint64

	Index  *segment.BlockIndex
	Last   uint64          // the number of the last block
	Recent recent.Blocks   // the last of them
	Small  small.Found     // the small commits, whose blocks are the last
	Noted  uint64          // the number of the last block with notes of producers; 0: there is none
	End    segment.LeafEnd // the last leaf

	Blocks digest.Sum      // of the blocks in their buckets, without damaged notes
	Rest   digest.Sum      // of the meta bucket and the state
	stored *digest.Record  // nil: the segment has none
	bad    map[uint64]bool // the blocks whose frames or notes are bad
	lost   uint64          // the number of blocks with bad notes in their buckets,
	unsure uint64          // and in small commits
}

// read reads every page that bbolt can reach from the snapshot's meta page. The error is a CorruptError if a page is bad,
// or if the blocks of a stream do not follow one another. Bad frames are no error.
func read(s *boltpage.Snapshot, path string, seq uint64) (*content, error) {
	c := &content{snapshot: s, path: path, seq: seq, Blocks: digest.New(seq), Rest: digest.New(seq), bad: make(map[uint64]bool)}
	state, numbered, moved := false, uint64(0), uint64(0)
	err := s.Check(func(name []byte, sequence uint64) func(boltpage.Element) error {
		switch string(name) {
		case string(segment.BucketBlocks):
			c.Index, numbered = segment.NewIndex(), sequence
			return func(e boltpage.Element) error {
				err := c.addBlock(e)
				moved = c.Last
				return err
			}
		case string(segment.BucketMeta):
			return c.addMeta
		case string(segment.BucketState):
			state = true
			return c.addState
		}
		if recent.IsName(name) {
			return func(e boltpage.Element) error { return c.addRecent(name, e) }
		}
		return func(boltpage.Element) error { return nil }
	})
	switch {
	case err != nil:
		return nil, err
	case c.Index == nil:
		return nil, s.Corrupt("the bucket blocks is missing")
	case numbered > 0 && moved != numbered:
		return nil, s.Corrupt("the last block of its bucket is number %d, want %d", moved, numbered)
	case !state:
		return nil, s.Corrupt("the bucket state is missing")
	}
	return c, c.addSmall()
}

// addSmall adds the small commits. The digest of the last transaction does not have them.
func (c *content) addSmall() (err error) {
	if c.Small, err = small.Read(c.snapshot); err != nil {
		return err
	}
	before, lost := c.Blocks, c.lost
	for _, e := range c.Small.Blocks {
		if !bytes.Equal(e.Key, segment.NumberKey(c.Last+1)) {
			return c.snapshot.Corrupt("a small commit holds block %x, after block %d", e.Key, c.Last)
		}
		if err := c.addBlock(e); err != nil {
			return err
		}
	}
	c.Blocks, c.lost, c.unsure = before, lost, c.lost-lost
	return nil
}

// addBlock checks a block's header and that the block continues its stream, and adds it.
func (c *content) addBlock(e boltpage.Element) error {
	b, fault := segment.PeekBlock(c.seq, e.Key, e.Value)
	if fault == "" {
		if next := c.Index.Span(b.Stream).Next; next != 0 && b.First != next {
			fault = fmt.Sprintf("the block begins at %d, want %d", b.First, next)
		}
	}
	if fault != "" {
		if err := segment.LaterBlock(c.seq, e.Key, e.Value); err != nil {
			return segment.InFile(c.path, err)
		}
		return &segment.CorruptError{File: c.path, Stream: b.Stream, Offset: b.First, Reason: fmt.Sprintf("block %d of the segment: %s", b.Number, fault)}
	}
	c.Index.Add(&b)
	c.Last = b.Number
	c.End.Add(len(e.Value))
	if segment.Noted(e.Value) {
		c.Noted = b.Number
	}
	if b.NotesLost {
		c.Blocks.Add(digest.Blocks, e.Key, e.Value[:segment.HeaderLength(e.Value)])
		c.lost++
	} else {
		segment.AddBlock(&c.Blocks, e.Key, e.Value)
	}
	if b.NotesLost || b.FramesFault() != "" {
		c.bad[b.Number] = true
	}
	return nil
}

// addRecent adds a block in a bucket of its own, which comes after the bucket of blocks.
func (c *content) addRecent(name []byte, e boltpage.Element) error {
	if c.Index == nil || !bytes.Equal(e.Key, name[1:]) || !bytes.Equal(e.Key, segment.NumberKey(c.Last+1)) {
		return c.snapshot.Corrupt("the bucket of block %x holds block %x, after block %d", name[1:], e.Key, c.Last)
	}
	c.Recent = c.Recent.With(len(e.Value))
	return c.addBlock(e)
}

func (c *content) addState(e boltpage.Element) error {
	c.Rest.Add(digest.State, e.Key, e.Value)
	return nil
}

func (c *content) addMeta(e boltpage.Element) error {
	if string(e.Key) != string(segment.KeyDigest) {
		c.Rest.Add(digest.Meta, e.Key, e.Value)
		return nil
	}
	c.stored = new(digest.Record)
	if !c.stored.Decode(e.Value) {
		return c.snapshot.Corrupt("the digest has %d bytes", len(e.Value))
	}
	return nil
}

// matches reports whether the stored digest is that of the content. If there is none, it reports true.
func (c *content) matches() bool {
	return c.stored == nil || *c.stored == digest.Record{Tx: c.snapshot.Tx(), Totals: c.Blocks.Plus(c.Rest.Totals)}
}

// missing returns the part of the stored digest that the content lacks.
func (c *content) missing() digest.Totals { return c.stored.Minus(c.Blocks.Plus(c.Rest.Totals)) }

// plausible reports whether the content matches, or would if the damaged notes were good.
func (c *content) plausible() bool {
	if c.matches() || c.stored.Tx != c.snapshot.Tx() {
		return c.matches()
	}
	n := c.missing().Entries
	return 0 < n && n <= c.lost
}

// follows reports whether the commit after older is whole: the content matches, or it lacks the same notes that were damaged
// in older. The digest of older does not have the notes of its small commits, so only the number of these is known.
func (c *content) follows(older *content) bool {
	if c.matches() || c.stored.Tx != c.snapshot.Tx() {
		return c.matches()
	}
	more := c.missing().Minus(older.missing())
	return more == digest.Totals{} || 0 < more.Entries && more.Entries <= older.unsure
}

// spoils reports whether a block that is bad in c is absent from older, or good there.
func (c *content) spoils(older *content) bool {
	for number := range c.bad {
		if !older.bad[number] {
			return true
		}
	}
	return false
}
