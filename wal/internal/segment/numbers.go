package segment

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"time"
)

// The entries of a segment's state, of its index and of the dead letters consist of numbers and texts: a number is a
// uvarint, a text has its length before it.

var errEntry = errors.New("an entry is malformed")

// AppendNumbers appends numbers as uvarints.
func AppendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendCount(b []byte, c Count) []byte { return AppendNumbers(b, c.Events, c.Bytes) }

// AppendText appends a text with its length before it.
func AppendText[T ~string | ~[]byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// UnixNano returns t in Unix nanoseconds; 0 for the zero time.
func UnixNano(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

// numberLength returns the length of n as a uvarint.
func numberLength(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// Decoder reads numbers and texts; after the first fault it returns zeros.
type Decoder struct {
	Rest []byte
	Bad  bool
}

func (d *Decoder) err() error {
	if d.Bad || len(d.Rest) > 0 {
		return errEntry
	}
	return nil
}

// Number decodes a number.
func (d *Decoder) Number() uint64 {
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 {
		d.Bad, d.Rest = true, nil
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

// length decodes a number of items that take at least one byte each. A number above the bytes that are left is a
// fault.
func (d *Decoder) length() int {
	n := d.Number()
	if n > uint64(len(d.Rest)) {
		d.Bad, d.Rest = true, nil
		return 0
	}
	return int(n)
}

// Text decodes a text, which lies in the decoded bytes.
func (d *Decoder) Text() []byte {
	n := d.length()
	text := d.Rest[:n]
	d.Rest = d.Rest[n:]
	return text
}

func (d *Decoder) count() Count { return Count{d.Number(), d.Number()} }

// time decodes a result of UnixNano.
func (d *Decoder) time() (t time.Time) {
	if ns := d.Number(); ns > 0 {
		t = time.Unix(0, int64(ns))
	}
	return t
}
