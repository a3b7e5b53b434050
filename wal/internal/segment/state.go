package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/digest"
)

// StateSumLength is the length of the checksum at the end of each value in the state: the CRC-32C of the key and the
// value. Only a segment with keySum in its meta has these checksums; older releases wrote none.
const StateSumLength = 4

var errStateSum = errors.New("the checksum of an entry of the state does not match")

// StateWriter changes the entries of a segment's state.
type StateWriter struct {
	bucket StateBucket
	summed bool
	sum    *digest.Sum
}

// StateBucket is where a StateWriter puts the entries: a bucket of bbolt, or what stands for it.
type StateBucket interface {
	Get(key []byte) []byte
	Put(key, value []byte) error
	Delete(key []byte) error
}

// NewStateWriter returns a writer of the bucket. summed: each value gets a checksum. sum is the digest that the writer
// updates; nil: the caller calculates it afterwards.
func NewStateWriter(bucket StateBucket, summed bool, sum *digest.Sum) StateWriter {
	return StateWriter{bucket, summed, sum}
}

// Put stores an entry, with its checksum if the segment has checksums.
func (w *StateWriter) Put(key, value []byte) error {
	value = SumStateValue(key, value, w.summed)
	w.remove(key)
	if w.sum != nil {
		w.sum.Add(digest.State, key, value)
	}
	return w.bucket.Put(key, value)
}

// Delete removes an entry, if it is there.
func (w *StateWriter) Delete(key []byte) error {
	w.remove(key)
	return w.bucket.Delete(key)
}

// remove removes the present entry from the digest.
func (w *StateWriter) remove(key []byte) {
	if w.sum == nil {
		return
	}
	if value := w.bucket.Get(key); value != nil {
		w.sum.Remove(digest.State, key, value)
	}
}

// StateElement is the number of bytes that an entry takes in addition to its key and value.
const StateElement = 16

// EntryPages returns the bytes that an entry of the state takes of its bucket's pages. A page that is
// full lacks up to one entry; a large one may have half of its pages to itself.
func EntryPages(key, value int) int64 {
	n := int64(key + value + StateSumLength + StateElement)
	return n + min(n*n, 2048*2048)/2048
}

// StatePages is EntryPages for an entry of the state with a value of that length, whose key has these names.
func StatePages(value int, names ...string) int64 {
	key := 1
	for _, name := range names {
		key += 2 + len(name)
	}
	return EntryPages(key, value)
}

// SumStateValue returns the value as it is stored: with its checksum, if the segment has checksums.
func SumStateValue(key, value []byte, summed bool) []byte {
	if !summed {
		return value
	}
	return binary.BigEndian.AppendUint32(value[:len(value):len(value)], stateSum(key, value))
}

// StateValue returns the value that Put was called with for key, after checking its checksum.
func StateValue(key, stored []byte, summed bool) (value []byte, err error) {
	if !summed {
		return stored, nil
	}
	n := len(stored) - StateSumLength
	if n < 0 || binary.BigEndian.Uint32(stored[n:]) != stateSum(key, stored[:n]) {
		return nil, errStateSum
	}
	return stored[:n:n], nil
}

func stateSum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, Castagnoli), Castagnoli, value)
}

// StateKey builds a key of the state bucket: a kind and texts, each with its length.
func StateKey(kind byte, texts ...string) []byte {
	b := []byte{kind}
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}

// SplitStateKey is StateKey's inverse.
func SplitStateKey(k []byte) (kind byte, texts []string, ok bool) {
	if len(k) == 0 {
		return 0, nil, false
	}
	d := Decoder{Rest: k[1:]}
	for len(d.Rest) > 0 {
		texts = append(texts, string(d.Text()))
	}
	return k[0], texts, !d.Bad
}

// continuedKey is the key of the mark of a continued state.
var continuedKey = StateKey(StateContinued, "producers")

// PutContinued marks the state as continued, or removes the mark: while a new segment lacks entries of producers, the
// entries and notes of producers in the segment before it count too, before those of the new one.
func (w *StateWriter) PutContinued(continued bool) error {
	if continued {
		return w.Put(continuedKey, nil)
	}
	return w.Delete(continuedKey)
}

// FillPages fills the pages of the state, for entries that are put in the order of their keys.
func (w *StateWriter) FillPages() {
	if b, ok := w.bucket.(*bolt.Bucket); ok {
		b.FillPercent = 1
	}
}

// Continued reports whether the segment's state has the mark of PutContinued.
func Continued(r Reader) bool {
	state := r.Bucket(BucketState)
	if state == nil {
		return false
	}
	k, _ := state.Seek(continuedKey)
	return bytes.Equal(k, continuedKey)
}

// Kinds of state.
const (
	StateStream    = 's' // StreamState
	StateCursor    = 'd' // CursorState
	StateProducer  = 'p' // ProducerState
	StateBranches  = 'b' // AppendBranches
	StateReceipt   = 'r' // see package receipt
	StateContinued = 'c' // a mark, see StateWriter.PutContinued
)
