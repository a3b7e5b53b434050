package segfile

import (
	"errors"
	"math"

	"github.com/standpipe/standpipe/wal/internal/lastcommit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// The methods of this file read a segment that was on the disk when the log was opened. Open calls them before the
// segment is part of the log.

// Meta checks that the file is the segment of its name, and returns its meta bucket.
func (f *File) Meta(r segment.Reader) (segment.Meta, error) {
	m, err := segment.ReadMeta(r, f.Path, f.Seq)
	if err == nil {
		f.summed, f.digested, f.keepsRecent = m.Summed, m.Digested, m.Recent
	}
	return m, err
}

// Check reads all of the newest segment, and makes its index. It finds the last whole commit, which readers see from now
// on, see Secure. doubtful: the end of the segment may be lost.
func (f *File) Check() (spans map[string]segment.Span, doubtful bool, err error) {
	f.found, f.torn = nil, 0
	found, err := lastcommit.Check(f.Path, f.Seq)
	if err != nil {
		return nil, false, err
	}
	f.found, f.torn = found, found.Torn
	f.index.Store(found.Index)
	f.last, f.end, f.noted, f.recent = found.Last, found.End, found.Noted, found.Recent
	f.stored = sums{found.Blocks, found.Rest}
	f.smalls.clear()
	f.smalls.add(&found.Small.Commit)
	f.number = len(found.Small.Pages)
	return found.Index.Spans(), found.Doubtful, nil
}

// EachNote is segment.EachNote for the newest segment, after Check. The error is ErrNotes, or a CorruptError.
func (f *File) EachNote(r segment.Reader, visit func(b *segment.Block, n *segment.Note)) error {
	if f.noted == 0 {
		return nil
	}
	err := segment.EachNote(r, f.Seq, visit)
	if errors.Is(err, segment.ErrNotes) {
		return err
	}
	return segment.InFile(f.Path, err)
}

// Spans reads the spans of a sealed segment from its index. It rebuilds an index that is missing or damaged.
func (f *File) Spans() (spans map[string]segment.Span, err error) {
	err = f.View(func(r segment.Reader) (err error) {
		if spans, err = segment.ReadIndexSpans(r, f.Seq); err != nil {
			err = segment.InFile(f.Path, err)
		}
		return err
	})
	if !segment.Damaged(err) {
		return spans, err
	}
	if err := f.rebuildIndex(err); err != nil {
		return nil, err
	}
	return f.index.Load().Spans(), nil
}

// KnownBlocks checks that no later release wrote the first or the last block of a sealed segment: the other blocks were
// written between these two. The readers of a block report every other fault.
func (f *File) KnownBlocks() error {
	err := f.View(func(r segment.Reader) error {
		blocks := r.Bucket(segment.BucketBlocks)
		if blocks == nil {
			return nil
		}
		if k, v := blocks.Floor(segment.NumberKey(math.MaxUint64)); k != nil {
			if err := segment.LaterBlock(f.Seq, k, v); err != nil {
				return err
			}
		}
		k, v := blocks.Seek(segment.NumberKey(0))
		if k == nil {
			return nil
		}
		return segment.LaterBlock(f.Seq, k, v)
	})
	if segment.Later(err) {
		return segment.InFile(f.Path, err)
	}
	return nil
}
