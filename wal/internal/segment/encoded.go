package segment

import (
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// IndexEvent finds the parts of an event in the encoding of standpipe.v1.Event, so that an append can store b
// unchanged. Key and Data of the result lie in b, and Encoded is b. Time is 0 if b has no time, and the caller may set
// it then. Nothing else in the result may be changed.
//
// ok is false for an encoding that is not plain: a field that is unknown, occurs twice or has another type, or an
// attribute that is not a name and a value in valid UTF-8. Such an event may still be valid. The caller must decode
// it, and append the decoded event.
func IndexEvent(b []byte) (e Event, ok bool) {
	var seen [fieldAttributes]bool // except attributes, which may be many
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 || num > fieldAttributes || typ != eventTypes[num] {
			return Event{}, false
		}
		if num != fieldAttributes {
			if seen[num] {
				return Event{}, false
			}
			seen[num] = true
		}
		rest = rest[n:]
		if n = e.index(num, rest); n < 0 {
			return Event{}, false
		}
		rest = rest[n:]
	}
	e.Encoded, e.timed = b, e.Time != 0
	return e, len(b) > 0
}

// eventTypes are the wire types of an event's fields. There is no field 0.
var eventTypes = [...]protowire.Type{
	0: -1, fieldKey: protowire.BytesType, fieldData: protowire.BytesType,
	fieldTime: protowire.VarintType, fieldAttributes: protowire.BytesType,
}

// index sets the field whose value b begins with. It returns the value's length, or a negative number if the value is
// not plain.
func (e *Event) index(num protowire.Number, b []byte) (n int) {
	if num == fieldTime {
		var at uint64
		at, n = protowire.ConsumeVarint(b)
		e.Time = int64(at)
		return n
	}
	v, n := protowire.ConsumeBytes(b)
	switch {
	case n < 0:
	case num == fieldKey:
		e.Key = textIn(v)
	case num == fieldData:
		e.Data = v
	default:
		size, plain := plainAttribute(v)
		if !plain {
			return -1
		}
		e.tagged += size
	}
	return n
}

// DecodeAttributes decodes the attributes of an event that came encoded into Attributes. An append does not decode
// them.
func (e *Event) DecodeAttributes() {
	for rest := e.Encoded; e.tagged > 0 && len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		size := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if num == fieldAttributes {
			entry, _ := protowire.ConsumeBytes(rest[n:])
			_ = decodeAttribute(entry, e) // IndexEvent has checked it
		}
		rest = rest[n+size:]
	}
}

// textIn returns b as a string without copying it. b must not change afterwards.
func textIn(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// plainAttribute reports whether b is a name followed by a value, and returns the number of bytes of the two.
func plainAttribute(b []byte) (size int, plain bool) {
	for field := fieldEntryKey; field <= fieldEntryValue; field++ {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num != field || typ != protowire.BytesType {
			return 0, false
		}
		v, m := protowire.ConsumeBytes(b[n:])
		if m < 0 || !utf8.Valid(v) {
			return 0, false
		}
		size += len(v)
		b = b[n+m:]
	}
	return size, len(b) == 0
}
