package wal

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"time"
)

// The entries of a segment's state, its index and the dead letters are made of numbers and texts: a number is a uvarint,
// a text has its length before it.

var errEntry = errors.New("an entry is malformed")

func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendCount(b []byte, c Count) []byte { return appendNumbers(b, c.Events, c.Bytes) }

func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func unixNano(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

// numberLength is the length of a uvarint.
func numberLength(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// decoder reads numbers and texts; after the first fault it returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) err() error {
	if d.bad || len(d.b) > 0 {
		return errEntry
	}
	return nil
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// length reads a number of things that take at least a byte each.
func (d *decoder) length() int {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) text() []byte {
	n := d.length()
	text := d.b[:n]
	d.b = d.b[n:]
	return text
}

func (d *decoder) count() Count { return Count{d.number(), d.number()} }
