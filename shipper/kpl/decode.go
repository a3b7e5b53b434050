package kpl

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	// ErrSum is wrapped by Decode when the MD5 at a record's end is not that of its message.
	ErrSum = errors.New("kpl: the checksum does not match")

	// ErrFormat is wrapped by Decode when the message is no AggregatedRecord.
	ErrFormat = errors.New("kpl: not an aggregated record")
)

// Decode takes a record apart by its keys, in the order of their table; payloads keep theirs within their
// key, and share record's memory. Of a record that does not begin with Magic, a lone payload, there are no
// groups and aggregated is false.
//
// It is stricter than a consumer may be: a wrong checksum and a damaged message are errors, where the
// official libraries hand the record on as it is.
func Decode(record []byte) (groups []Group, aggregated bool, err error) {
	if !hasMagic(record) {
		return nil, false, nil
	}
	message, err := checked(record)
	if err != nil {
		return nil, true, err
	}
	d := decoder{}
	if err := eachField(message, d.field); err != nil {
		return nil, true, err
	}
	return d.groups, true, nil
}

// checked returns the message between the magic and the checksum, which must match.
func checked(record []byte) ([]byte, error) {
	if len(record) < Overhead {
		return nil, fmt.Errorf("%w: %d bytes, at least %d", ErrFormat, len(record), Overhead)
	}
	message, tail := record[len(Magic):len(record)-md5.Size], record[len(record)-md5.Size:]
	if sum := md5.Sum(message); !bytes.Equal(sum[:], tail) {
		return nil, fmt.Errorf("%w: %x, want %x", ErrSum, tail, sum)
	}
	return message, nil
}

type decoder struct {
	groups   []Group
	payloads int
}

func (d *decoder) field(f field) error {
	switch {
	case f.is(fieldKeyTable, protowire.BytesType):
		d.groups = append(d.groups, Group{Key: string(f.bytes)})
	case f.is(fieldRecords, protowire.BytesType):
		return d.record(f.bytes)
	}
	return nil
}

func (d *decoder) record(b []byte) error {
	index, data, found := uint64(0), []byte(nil), false
	err := eachField(b, func(f field) error {
		switch {
		case f.is(fieldKeyIndex, protowire.VarintType):
			index = f.number
		case f.is(fieldData, protowire.BytesType):
			data, found = f.bytes, true
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case index >= uint64(len(d.groups)):
		return fmt.Errorf("%w: payload %d has key index %d of %d keys", ErrFormat, d.payloads, index, len(d.groups))
	case !found:
		return fmt.Errorf("%w: payload %d has no data", ErrFormat, d.payloads)
	}
	d.payloads++
	d.groups[index].Payloads = append(d.groups[index].Payloads, data)
	return nil
}

// field is one field of a message: number for a varint, bytes for a field with a length.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	number uint64
	bytes  []byte
}

func (f *field) is(num protowire.Number, typ protowire.Type) bool {
	return f.num == num && f.typ == typ
}

// eachField calls fn for every field of a message.
func eachField(b []byte, fn func(field) error) error {
	for len(b) > 0 {
		f, n := consumeField(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrFormat, protowire.ParseError(n))
		}
		if err := fn(f); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// consumeField returns the first field of b and its length, or a negative protowire error code.
func consumeField(b []byte) (f field, n int) {
	num, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 {
		return f, tag
	}
	f.num, f.typ = num, typ
	switch typ {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(b[tag:])
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b[tag:])
	default:
		n = protowire.ConsumeFieldValue(num, typ, b[tag:])
	}
	if n < 0 {
		return f, n
	}
	return f, tag + n
}
