package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// In a segment with keySum in its meta, the value of each entry of the state has behind it the CRC-32C of the key and the
// value. Segments of older releases have no checksums.
const stateSumLength = 4

var errStateSum = errors.New("the checksum of an entry of the state does not match")

// stateWriter puts entries into a segment's state.
type stateWriter struct {
	bucket *bolt.Bucket
	summed bool
}

func (w *stateWriter) Put(key, value []byte) error {
	if w.summed {
		value = binary.BigEndian.AppendUint32(value[:len(value):len(value)], stateSum(key, value))
	}
	return w.bucket.Put(key, value)
}

// stateElement is what an entry takes beside its key and value.
const stateElement = 16

// stateValue returns what was put under key.
func stateValue(key, stored []byte, summed bool) (value []byte, err error) {
	if !summed {
		return stored, nil
	}
	n := len(stored) - stateSumLength
	if n < 0 || binary.BigEndian.Uint32(stored[n:]) != stateSum(key, stored[:n]) {
		return nil, errStateSum
	}
	return stored[:n:n], nil
}

func stateSum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// stateKey builds a key of the state bucket: a kind and texts, each with its length.
func stateKey(kind byte, texts ...string) []byte {
	b := []byte{kind}
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}

// splitStateKey is stateKey's inverse.
func splitStateKey(k []byte) (kind byte, texts []string, ok bool) {
	if len(k) == 0 {
		return 0, nil, false
	}
	d := decoder{b: k[1:]}
	for len(d.b) > 0 {
		texts = append(texts, string(d.text()))
	}
	return k[0], texts, !d.bad
}

// Kinds of state.
const (
	stateStream   = 's' // streamState
	stateCursor   = 'd' // cursorState
	stateProducer = 'p' // producerState
	stateBranches = 'b' // appendBranches
)
