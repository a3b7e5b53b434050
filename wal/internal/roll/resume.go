package roll

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Found is the end of a log that is opened.
type Found struct {
	Whole bool          // the newest segment can be read: it is the last one of the set
	Ready *segfile.File // the segment that was made ready to follow it; nil: there is none
	Last  uint64        // the number of the newest segment, whether it can be read or not
	Lost  bool          // events may be lost with it

	Continued bool // the newest segment lacks a part of the state, see liveset.Segment
}

// Resume makes the newest segment writable if it is whole, or begins another. begin writes the state of the log into an
// empty segment.
func (r *Roller) Resume(f Found, begin func(tx *bolt.Tx) error) error {
	if f.Whole {
		if f.Ready != nil {
			if err := errors.Join(f.Ready.Remove(os.Remove), r.o.SyncFolder()); err != nil {
				return fmt.Errorf("remove the segment that was made ready: %w", err)
			}
		}
		if err := r.o.Segments.Unseal(f.Continued).OpenWritable(r.o.SegmentSize); err != nil {
			return fmt.Errorf("open newest segment: %w", err)
		}
		return nil
	}
	seg, err := r.beginNewest(f, begin)
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	r.o.Segments.Begin(seg)
	return nil
}

// beginNewest begins the segment that was made ready, which works on a full disk. It makes a new one if there is none,
// or if it is damaged. It also makes a new one if events were lost: then the first offset of new streams is too low in
// the one that was made ready.
func (r *Roller) beginNewest(f Found, begin func(tx *bolt.Tx) error) (*liveset.Segment, error) {
	if f.Ready == nil || f.Lost || segment.CheckPages(f.Ready.Path) != nil {
		return r.Create(f.Last+1, begin)
	}
	seg := liveset.NewSegment(f.Ready)
	err := seg.OpenEmpty(r.o.SegmentSize)
	if err == nil {
		err = seg.Update(begin)
	}
	if err != nil {
		return nil, errors.Join(err, seg.Close())
	}
	return seg, nil
}
