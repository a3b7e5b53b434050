package segment

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// A frame is an event inside a block: its lane, its length, and the event in the encoding of standpipe.v1.Event. So an
// event that came over the wire can be stored without encoding it again.
const (
	fieldKey        = protowire.Number(1)
	fieldData       = protowire.Number(2)
	fieldTime       = protowire.Number(3)
	fieldAttributes = protowire.Number(4)
	fieldTimeline   = protowire.Number(15) // not part of standpipe.v1.Event

	fieldEntryKey   = protowire.Number(1)
	fieldEntryValue = protowire.Number(2)
)

// ErrFrame reports a frame that cannot be decoded.
var ErrFrame = errors.New("event frame is malformed")

// AppendFrame appends the frame of e, which belongs to lane, to b.
func AppendFrame(b []byte, e *Event, lane uint8) []byte {
	b = append(b, lane)
	b = protowire.AppendVarint(b, uint64(eventSize(e)))
	if e.Encoded != nil {
		return appendEncoded(b, e)
	}
	b = protowire.AppendTag(b, fieldKey, protowire.BytesType)
	b = protowire.AppendString(b, e.Key)
	b = protowire.AppendTag(b, fieldData, protowire.BytesType)
	b = protowire.AppendBytes(b, e.Data)
	b = appendTime(b, e)
	if len(e.Attributes) > 0 {
		b = appendAttributes(b, e.Attributes)
	}
	return b
}

// appendEncoded appends an event that came encoded. If a field occurs twice the last one counts, so the time can be
// appended.
func appendEncoded(b []byte, e *Event) []byte {
	b = append(b, e.Encoded...)
	if e.timed {
		return b
	}
	return appendTime(b, e)
}

func appendTime(b []byte, e *Event) []byte {
	b = protowire.AppendTag(b, fieldTime, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(e.Time))
	if e.Timeline == 0 {
		return b
	}
	b = protowire.AppendTag(b, fieldTimeline, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(e.Timeline))
}

// FrameSize returns the bytes that AppendFrame adds for e.
func FrameSize(e *Event) int {
	n := eventSize(e)
	return 1 + protowire.SizeVarint(uint64(n)) + n
}

func eventSize(e *Event) int {
	switch {
	case e.timed:
		return len(e.Encoded)
	case e.Encoded != nil:
		return len(e.Encoded) + timeSize(e)
	}
	n := 2 + protowire.SizeBytes(len(e.Key)) + protowire.SizeBytes(len(e.Data)) + timeSize(e)
	for k, v := range e.Attributes {
		n += 1 + protowire.SizeBytes(attributeSize(k, v))
	}
	return n
}

func timeSize(e *Event) int {
	n := 1 + protowire.SizeVarint(uint64(e.Time))
	if e.Timeline != 0 {
		n += 1 + protowire.SizeVarint(uint64(e.Timeline))
	}
	return n
}

func attributeSize(k, v string) int {
	return 2 + protowire.SizeBytes(len(k)) + protowire.SizeBytes(len(v))
}

// appendAttributes appends the attributes in the order of their names, so that equal events have equal bytes.
func appendAttributes(b []byte, attributes map[string]string) []byte {
	names := make([]string, 0, len(attributes))
	for k := range attributes {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		v := attributes[k]
		b = protowire.AppendTag(b, fieldAttributes, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(attributeSize(k, v)))
		b = protowire.AppendTag(b, fieldEntryKey, protowire.BytesType)
		b = protowire.AppendString(b, k)
		b = protowire.AppendTag(b, fieldEntryValue, protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	return b
}

// GapLane takes the position of a frame's lane, before the number of events that a compaction removed.
const GapLane = 0xff

// AppendGap appends a gap in place of events that a compaction removed.
func AppendGap(b []byte, events uint64) []byte {
	return protowire.AppendVarint(append(b, GapLane), events)
}

// splitGap returns the number of events that are missing at the beginning of b, and the rest of b. The number is 0 if
// b does not begin with a gap.
func splitGap(b []byte) (events uint64, rest []byte, err error) {
	if len(b) == 0 || b[0] != GapLane {
		return 0, b, nil
	}
	events, n := protowire.ConsumeVarint(b[1:])
	if n < 0 || events == 0 {
		return 0, nil, ErrFrame
	}
	return events, b[1+n:], nil
}

// SplitFrame splits off the frame that b begins with, and returns its lane, its encoded event, and the rest of b.
func SplitFrame(b []byte) (lane uint8, event, rest []byte, err error) {
	if len(b) < 2 || b[0] >= Lanes {
		return 0, nil, nil, ErrFrame
	}
	event, n := protowire.ConsumeBytes(b[1:])
	if n < 0 {
		return 0, nil, nil, ErrFrame
	}
	return b[0], event, b[1+n:], nil
}

// DecodeEvent decodes an event. The result's Key, Data and Attributes lie in b, which must not change afterwards.
func DecodeEvent(b []byte, e *Event) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrFrame
		}
		b = b[n:]
		switch {
		case num == fieldKey && typ == protowire.BytesType:
			var v []byte
			v, n = protowire.ConsumeBytes(b)
			e.Key = textIn(v)
		case num == fieldData && typ == protowire.BytesType:
			e.Data, n = protowire.ConsumeBytes(b)
		case num == fieldTime && typ == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(b)
			e.Time = int64(v)
		case num == fieldTimeline && typ == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(b)
			e.Timeline = uint32(v)
		case num == fieldAttributes && typ == protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 && decodeAttribute(v, e) != nil {
				return ErrFrame
			}
		default: // a later release's field
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return ErrFrame
		}
		b = b[n:]
	}
	return nil
}

func decodeAttribute(b []byte, e *Event) error {
	var k, v string
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ != protowire.BytesType {
			return ErrFrame
		}
		text, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return ErrFrame
		}
		switch num {
		case fieldEntryKey:
			k = textIn(text)
		case fieldEntryValue:
			v = textIn(text)
		}
		b = b[n+m:]
	}
	if e.Attributes == nil {
		e.Attributes = make(map[string]string)
	}
	e.Attributes[k] = v
	return nil
}

// LeastFrame is the length of the shortest event in a block: its lane, its length, and a time of one byte with its
// tag. An event that came encoded may lack a key and data.
const LeastFrame = 1 + 1 + 2
