package wal

import (
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// walk visits a stream's blocks in a segment. It finds them by the index, and reads no other block.
type walk struct {
	seg    *segmentFile
	stream string
	from   uint64 // the first wanted offset,
	next   uint64 // and the first one beyond the wanted offsets
	// visit is called for each block in order, with its position in the index. The first block may begin before from. A
	// block is good only if its fault is empty, and its bytes are valid until visit returns. done ends the walk.
	visit func(at segment.BlockPlace, b segment.Block, fault string) (done bool, err error)
}

// run visits the blocks in order. It returns the error of visit, or nil at the end of the blocks.
func (w *walk) run() error {
	for from := w.from; from < w.next; {
		// Look up the part of the segment's index that lists the next blocks.
		part, ok, err := w.seg.partOf(w.stream, from)
		if err != nil || !ok {
			return err
		}

		// Visit these blocks in one read transaction.
		done := false
		err = w.seg.view(func(r segment.Reader) (err error) {
			bucket := r.Bucket(segment.BucketBlocks)
			if bucket == nil {
				return &CorruptError{File: w.seg.path, Stream: w.stream, Offset: from, Reason: "the blocks are missing"}
			}
			c := segment.NumberCursor{Entries: bucket}
			for at := range part.Places(from) {
				if done = at.First >= w.next; done {
					return nil
				}
				b, fault, err := w.block(&c, at)
				if err != nil {
					return err
				}
				if done, err = w.visit(at, b, fault); done || err != nil {
					return err
				}
			}
			return nil
		})
		if done || err != nil {
			return err
		}
		from = part.Next
	}
	return nil
}

// block reads the header of the block at the position at of the index.
func (w *walk) block(c *segment.NumberCursor, at segment.BlockPlace) (b segment.Block, fault string, err error) {
	k, v := c.At(at.Number)
	if k == nil {
		return b, fmt.Sprintf("block %d of the segment is missing", at.Number), nil
	}
	if b, fault = segment.PeekBlock(w.seg.seq, k, v); fault != "" {
		err = segment.InFile(w.seg.path, segment.LaterBlock(w.seg.seq, k, v))
	}
	if fault == "" && (b.Stream != w.stream || b.First != at.First || b.Next() != at.Next) {
		fault = fmt.Sprintf("block %d of the segment is another one by the index", at.Number)
	}
	return b, fault, err
}

// partOf returns the part of the segment's index that has the offset, or the first part after it.
func (s *segmentFile) partOf(stream string, offset uint64) (p segment.IndexPart, ok bool, err error) {
	for range 2 {
		if x := s.index.Load(); x != nil {
			p, ok = x.Part(stream, offset)
			return p, ok, nil
		}
		err = s.view(func(r segment.Reader) (err error) {
			if p, ok, err = segment.IndexPartOf(r, s.seq, stream, offset); err != nil {
				err = segment.InFile(s.path, err)
			}
			return err
		})
		if !segment.Damaged(err) {
			return p, ok, err
		}
		if err := s.rebuildIndex(err); err != nil {
			return p, false, err
		}
	}
	return p, false, err
}

// rebuildIndex makes the index of a sealed segment from its blocks, and keeps it in memory.
func (s *segmentFile) rebuildIndex(reason error) error {
	s.logger.Warn("segment index missing or corrupt; rebuilding from blocks", "segment", s.path, "error", reason)
	s.mu.RLock() // against swap
	defer s.mu.RUnlock()
	x, err := segment.IndexOfFile(s.path, s.seq)
	if err == nil {
		s.index.Store(x)
	}
	return err
}
