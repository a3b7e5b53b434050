package compact

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltcopy"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// ErrKept is returned if the segment stays as it is for now.
var ErrKept = errors.New("wal: the segment is needed as it is")

// Copier copies the needed events of a sealed segment.
type Copier struct {
	Segment *segfile.File
	Needs   map[string]*Needs // of each stream in the segment

	// Pause is called after each chunk of about 1 MiB, with the time that the chunk took. An error ends the copy.
	Pause func(took time.Duration) error
}

// Copy is a complete copy, which is synced and has no name in the log yet.
type Copy struct {
	Length int64 // of its file
	Spans  map[string]segment.Span
}

// Measure returns the most bytes that the blocks and the index of the copy will occupy. The state comes on top.
func (c *Copier) Measure() (size int64, err error) {
	f := newFilter(c.Segment.Seq, c.Needs)
	if err := c.eachChunk(segment.BucketBlocks, f.addEntry, nil); err != nil {
		return 0, err
	}
	f.finish(func(uint64, []byte) {})
	return f.size + f.size/8 + f.index.Size.Load(), nil // half of a page is lost at the end of a leaf of two blocks or more
}

// Copy writes the needed events of the segment, at most size bytes, to path and syncs the file.
func (c *Copier) Copy(path string, size int64) (made *Copy, err error) {
	if err := disk.RemoveIfExists(path); err != nil { // of an attempt that failed
		return nil, err
	}
	db, file, err := segment.OpenBoltFile(path, &bolt.Options{NoSync: true, InitialMmapSize: disk.MapAhead(size, disk.CopyAhead)})
	if err != nil {
		return nil, err
	}
	w := boltcopy.Writer{DB: db}
	defer func() {
		if err = errors.Join(err, w.Abandon(), db.Close()); err == nil {
			err = os.Truncate(path, w.Length)
		}
	}()
	if err := disk.Lengthen(file, size); err != nil {
		return nil, fmt.Errorf("lengthen %s: %w", path, err)
	}

	// The meta bucket and the state stay as they are, without a digest: it would be that of other blocks.
	// The entries of the producers include the notes of the blocks.
	put := func(name []byte) func(*boltcopy.Chunk) error {
		return func(chunk *boltcopy.Chunk) error { return w.Put(name, chunk) }
	}
	if err := c.eachChunk(segment.BucketMeta, cloneEntry, put(segment.BucketMeta)); err != nil {
		return nil, err
	}
	err = c.eachChunk(segment.BucketState, cloneEntry, func(chunk *boltcopy.Chunk) error {
		if err := c.includeNotes(chunk); err != nil {
			return err
		}
		return w.Put(segment.BucketState, chunk)
	})
	if err != nil {
		return nil, err
	}

	// The blocks are made anew from the needed events.
	f := newFilter(c.Segment.Seq, c.Needs)
	if err := c.eachChunk(segment.BucketBlocks, f.addEntry, put(segment.BucketBlocks)); err != nil {
		return nil, err
	}
	var last boltcopy.Chunk
	f.finish(last.AddBlock)
	if err := w.Put(segment.BucketBlocks, &last); err != nil {
		return nil, err
	}

	// The index and the counts of the held events complete the copy.
	meta := w.Tx.Bucket(segment.BucketMeta)
	if err := errors.Join(f.index.Write(w.Tx, c.Segment.Seq), meta.Put(segment.KeyGapped, segment.AppendHeld(f.held)), meta.Delete(segment.KeyDigest)); err != nil {
		return nil, err
	}
	err = w.Commit()
	return &Copy{Length: w.Length, Spans: f.index.Spans()}, err
}

func cloneEntry(k, v []byte, c *boltcopy.Chunk) error {
	c.Add(bytes.Clone(k), bytes.Clone(v))
	return nil
}

// addEntry filters an entry of the bucket of blocks.
func (f *filter) addEntry(k, v []byte, c *boltcopy.Chunk) error {
	b, fault := segment.ParseBlock(f.seq, k, v)
	if fault != "" {
		return ErrKept // its readers report the damage
	}
	return f.add(&b, c.AddBlock)
}

// eachChunk calls visit for each entry of a bucket, chunk by chunk. If put is not nil, it takes each chunk, with the entries
// that visit has added.
func (c *Copier) eachChunk(name []byte, visit func(k, v []byte, c *boltcopy.Chunk) error, put func(*boltcopy.Chunk) error) error {
	for next := []byte{}; next != nil; {
		var chunk boltcopy.Chunk
		start := time.Now()
		err := c.Segment.View(func(r segment.Reader) error {
			bucket := r.Bucket(name)
			if bucket == nil {
				return ErrKept
			}
			return chunk.Read(bucket, next, visit)
		})
		if err == nil && put != nil {
			err = put(&chunk)
		}
		if err != nil {
			return err
		}
		if err := c.Pause(time.Since(start)); err != nil {
			return err
		}
		next = chunk.Next
	}
	return nil
}
