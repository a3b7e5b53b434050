package wal

import (
	"fmt"
)

// walk visits a stream's blocks in a segment. It finds them by the index, and reads no other block.
type walk struct {
	seg    *segmentFile
	stream string
	from   uint64 // the first offset wanted,
	next   uint64 // and the first beyond those
	// visit is called for the place of each block in order; the first may begin before from. The
	// block is only good when its fault is empty; its bytes are valid until visit returns. done: enough.
	visit func(at blockPlace, b block, fault string) (done bool, err error)
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
		err = w.seg.view(func(r reader) (err error) {
			bucket := r.bucket(bucketBlocks)
			if bucket == nil {
				return &CorruptError{w.seg.path, w.stream, from, "the blocks are missing"}
			}
			c := numberCursor{entries: bucket}
			for at := range part.places(from) {
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
		from = part.next
	}
	return nil
}

// block reads the header of the block that the index has at at.
func (w *walk) block(c *numberCursor, at blockPlace) (b block, fault string, err error) {
	k, v := c.at(at.number)
	if k == nil {
		return b, fmt.Sprintf("block %d of the segment is missing", at.number), nil
	}
	if b, fault = peekBlock(w.seg.seq, k, v); fault != "" {
		err = inFile(w.seg.path, laterBlock(w.seg.seq, k, v))
	}
	if fault == "" && (b.stream != w.stream || b.first != at.First || b.next() != at.Next) {
		fault = fmt.Sprintf("block %d of the segment is another one by the index", at.number)
	}
	return b, fault, err
}

// partOf returns the part of the segment's index that has the offset, or the first after it.
func (s *segmentFile) partOf(stream string, offset uint64) (p indexPart, ok bool, err error) {
	for range 2 {
		if x := s.index.Load(); x != nil {
			p, ok = x.part(stream, offset)
			return p, ok, nil
		}
		err = s.view(func(r reader) (err error) {
			if p, ok, err = indexPartOf(r, s.seq, stream, offset); err != nil {
				err = inFile(s.path, err)
			}
			return err
		})
		if !damaged(err) {
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
	x, err := indexOfFile(s.path, s.seq)
	if err == nil {
		s.index.Store(x)
	}
	return err
}
