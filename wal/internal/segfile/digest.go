package segfile

import (
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/digest"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// digests has the digest of the newest segment. The writer owns it.
type digests struct {
	summed   bool // the state's entries have checksums, and
	digested bool // each commit stores a digest; both are set before the file has a second user
	stored   sums // of the last commit
	next     sums // of the transaction under way
	unsure   bool // the next commit syncs twice: pages of one that was not stored may have its number, or it begins the segment
	creating bool // the file has no name yet: nothing is written after its sync
	sealing  bool // the transaction under way seals the segment
}

// sums are the digest of a segment in two parts, which change in different ways.
type sums struct {
	blocks digest.Sum // grows
	rest   digest.Sum // of the meta bucket and the state
}

// State returns a writer of the state, for write of an Update.
func (f *File) State(tx *bolt.Tx) segment.StateWriter {
	var sum *digest.Sum
	if f.digested {
		sum = &f.next.rest
	}
	return segment.NewStateWriter(tx.Bucket(segment.BucketState), f.summed, sum)
}

// syncsTwice reports whether the transaction under way needs a sync before its meta page is written:
//   - Without a digest, Open could not tell a torn commit.
//   - The commit that begins a segment writes the whole state, and the one that seals it is never verified.
//   - After a failed or interrupted commit, its pages may have the number of this one, and a digest that is right for them.
func (d *digests) syncsTwice() bool { return !d.digested || d.sealing || d.unsure }

// Summed reports whether the entries of the state have checksums.
func (d *digests) Summed() bool { return d.summed }

// put stores the digest of the transaction under way. A sealed segment has none. A commit that syncs twice may have written
// any entry of the meta bucket and the state.
func (d *digests) put(tx *bolt.Tx, segmentNumber uint64, twice bool) error {
	if !d.digested {
		return nil
	}
	meta := tx.Bucket(segment.BucketMeta)
	if d.sealing {
		return meta.Delete(segment.KeyDigest)
	}
	if twice {
		d.next.rest = sumRest(tx, segmentNumber)
	}
	record := digest.Record{Tx: uint64(tx.ID()), Totals: d.next.blocks.Plus(d.next.rest.Totals)}
	if err := meta.Put(segment.KeyDigest, record.Append(nil)); err != nil {
		return fmt.Errorf("put digest: %w", err)
	}
	return nil
}

// sumRest returns the digest of the meta bucket and the state.
func sumRest(tx *bolt.Tx, seq uint64) digest.Sum {
	sum := digest.New(seq)
	add := func(name []byte, part digest.Bucket) {
		bucket := tx.Bucket(name)
		if bucket == nil {
			return
		}
		for c, k, v := cursorOf(bucket); k != nil; k, v = c.Next() {
			if part != digest.Meta || string(k) != string(segment.KeyDigest) {
				sum.Add(part, k, v)
			}
		}
	}
	add(segment.BucketMeta, digest.Meta)
	add(segment.BucketState, digest.State)
	return sum
}

func cursorOf(b *bolt.Bucket) (c *bolt.Cursor, k, v []byte) {
	c = b.Cursor()
	k, v = c.First()
	return c, k, v
}

// Secure makes the last whole commit that Check has found durable, and removes a torn one. It must be called before
// another process reads the file, and before a commit. It reports whether there was a torn commit.
func (f *File) Secure() (torn bool, err error) {
	found := f.found
	if f.found = nil; found == nil {
		return false, nil
	}
	if err := found.Secure(f.Path); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.torn = 0
	return found.Torn != 0, f.closeLocked()
}
