package segfile

import (
	"context"
	"errors"
	"fmt"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Visit is called for each block of a Walk in order, with its position in the index. The first block may begin before
// the first wanted offset. A block is good only if its fault is empty, and its bytes are valid until Visit returns. done
// ends the walk.
type Visit func(at segment.BlockPlace, b segment.Block, fault string) (done bool, err error)

// Walk visits the blocks of a stream that hold offsets in [from, next). It finds them by the index, and reads no other
// block. It returns the error of visit, or nil at the end of the blocks.
func (f *File) Walk(stream string, from, next uint64, visit Visit) error {
	w := walk{file: f, stream: stream, from: from, next: next, visit: visit}
	return w.run()
}

// walk is a Walk under way.
type walk struct {
	file       *File
	stream     string
	from, next uint64
	visit      Visit
}

func (w *walk) run() error {
	for from := w.from; from < w.next; {
		// Look up the part of the segment's index that lists the next blocks.
		part, ok, err := w.file.PartOf(w.stream, from)
		if err != nil || !ok {
			return err
		}

		// Visit these blocks in one read transaction.
		done := false
		err = w.file.View(func(r segment.Reader) (err error) {
			bucket := r.Bucket(segment.BucketBlocks)
			if bucket == nil {
				return &segment.CorruptError{File: w.file.Path, Stream: w.stream, Offset: from, Reason: "the blocks are missing"}
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
				w.file.walked.Add(int64(len(b.Frames)))
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
	if b, fault = segment.PeekBlock(w.file.Seq, k, v); fault != "" {
		err = segment.InFile(w.file.Path, segment.LaterBlock(w.file.Seq, k, v))
	}
	if fault == "" && (b.Stream != w.stream || b.First != at.First || b.Next() != at.Next) {
		fault = fmt.Sprintf("block %d of the segment is another one by the index", at.Number)
	}
	return b, fault, err
}

// PartOf returns the part of the segment's index that has the offset, or the first part after it.
func (f *File) PartOf(stream string, offset uint64) (p segment.IndexPart, ok bool, err error) {
	for range 2 {
		if x := f.index.Load(); x != nil {
			p, ok = x.Part(stream, offset)
			return p, ok, nil
		}
		err = f.View(func(r segment.Reader) (err error) {
			if p, ok, err = segment.IndexPartOf(r, f.Seq, stream, offset); err != nil {
				err = segment.InFile(f.Path, err)
			}
			return err
		})
		if !segment.Damaged(err) {
			return p, ok, err
		}
		if err := f.rebuildIndex(err); err != nil {
			return p, false, err
		}
	}
	return p, false, err
}

// rebuildIndex makes the index of a sealed segment from its blocks, and keeps it in memory.
func (f *File) rebuildIndex(reason error) error {
	f.logger.Warn("segment index missing or corrupt; rebuilding from blocks", "segment", f.Path, "error", reason)
	f.mu.RLock() // against Replace
	defer f.mu.RUnlock()
	x, err := indexOf(f.Path, f.Seq)
	if err == nil {
		f.index.Store(x)
	}
	return err
}

// indexOf makes the index of a sealed segment from its blocks. If all blocks are bad, the segment is corrupt.
func indexOf(path string, seq uint64) (x *segment.BlockIndex, err error) {
	f, err := segment.OpenPages(path)
	if err != nil {
		return nil, err
	}
	f.Seq = seq
	defer func() { err = errors.Join(err, f.Close()) }()
	var corrupt *segment.CorruptError
	x, err = f.IndexBlocks(context.Background(), func(why *segment.CorruptError) { corrupt = why }, func(*segment.Block) {})
	switch {
	case err != nil:
		return nil, err
	case corrupt != nil && len(x.Streams) == 0:
		return nil, corrupt
	}
	x.Patched = true
	return x, nil
}
