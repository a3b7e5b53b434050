package pack

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/wal"
)

// Envelope puts one line of JSON around an event:
//
//	{"id":"LOG/STREAM/17","offset":17,"time":"2026-11-21T10:00:00.000000000Z","key":"u1",
//	 "attributes":{"a":"b"},"data":{"page":"/"}}
//
// An event whose time was taken before the clock of the host was set has "time_uncertain":true after its time, unless the
// time is corrected by now.
//
// The ID identifies the event for ever: each WAL has its own ID and uses no offset of a stream twice. In a copy of a WAL,
// or in one that was restored from an older state, LOG differs for the events that are appended from then on. Two lines
// with the same ID are one event that arrived twice. attributes is omitted if the event has none.
// data depends on the stream's format: JSON as it is, text as a string. Bytes, and text that is not UTF-8, stand in
// base64 under data_base64.
//
// With MsgPack it puts a MessagePack array around the event instead: the stream, the time in milliseconds, and the data
// as they are, in the type bin. Nothing separates two of them.
type Envelope struct {
	Log    string // the WAL's ID
	Stream string
	Format string // of the stream's events: EnvelopeJSON, EnvelopeText or EnvelopeBytes
	// Branches, when not nil, are the IDs that replace Log, each from an offset on.
	Branches []wal.Branch
	MsgPack  bool
	// Bare leaves out the envelope of events that are JSON: they stand on their line as they are.
	Bare bool

	json validJSON
}

// validJSON caches for some events whether they are JSON: a batch is laid out several times before it is sent, and events
// that were stored while the stream had another format may be anything.
type validJSON struct {
	seen atomic.Pointer[[jsonSeen]atomic.Uint64]
}

// jsonSeen is the number of cached events; 64 KiB for each destination whose stream is JSON.
const jsonSeen = 8 << 10

// of reports whether the event is JSON. The cache is valid because an event's bytes do not change.
func (v *validJSON) of(e *wal.Event) bool {
	seen := v.seen.Load()
	if seen == nil {
		v.seen.CompareAndSwap(nil, new([jsonSeen]atomic.Uint64))
		seen = v.seen.Load()
	}
	slot := &seen[e.Offset%jsonSeen]
	key := (e.Offset ^ uint64(len(e.Data))<<44) << 1
	if was := slot.Load(); was&^1 == key && key != 0 {
		return was&1 == 1
	}
	valid := json.Valid(e.Data)
	if valid {
		key |= 1
	}
	slot.Store(key)
	return valid
}

// log returns the part of the ID that comes first for the event at offset; for an event without an offset, the latest
// one.
func (v *Envelope) log(offset uint64) string {
	for i := len(v.Branches) - 1; i >= 0; i-- {
		if b := &v.Branches[i]; offset >= b.First || offset == 0 {
			return b.ID
		}
	}
	return v.Log
}

// The formats of the events in an envelope.
const (
	EnvelopeJSON  = "json"
	EnvelopeText  = "text"
	EnvelopeBytes = "bytes"
)

const (
	// envelopeTime is RFC 3339 with all nine digits of a nanosecond, so that its size is known.
	envelopeTime = "2006-01-02T15:04:05.000000000Z"

	timeUncertain = `,"time_uncertain":true`

	// mostOffset stands for the offset of an event that has none yet: it has the most digits.
	mostOffset = 1<<64 - 1
)

// Size returns the number of bytes that Append appends. For an event that is not in the WAL yet (offset 0) it is the
// largest number that they may become.
func (v *Envelope) Size(e *wal.Event) int {
	if v.MsgPack {
		return v.msgpackSize(e)
	}
	if v.bare(e) {
		return len(e.Data)
	}
	digits := len(strconv.AppendUint(make([]byte, 0, 20), offsetOf(e), 10))
	n := len(`{"id":"//","offset":,"time":"","key":}`) + len(v.log(e.Offset)) + len(v.Stream) + 2*digits +
		len(envelopeTime) + stringSize(e.Key)
	if e.Timeline != 0 {
		n += len(timeUncertain)
	}
	if len(e.Attributes) > 0 {
		n += len(`,"attributes":{}`) + len(e.Attributes) - 1
		for name, value := range e.Attributes {
			n += stringSize(name) + len(`:`) + stringSize(value)
		}
	}
	return n + v.dataSize(e)
}

// bare reports whether e has no envelope.
func (v *Envelope) bare(e *wal.Event) bool {
	return v.Bare && (e.Offset == 0 && v.Format == EnvelopeJSON || e.Offset != 0 && v.json.of(e))
}

func offsetOf(e *wal.Event) uint64 {
	if e.Offset == 0 {
		return mostOffset
	}
	return e.Offset
}

// dataSize returns the size of the last field. Events of a JSON stream that are not in the WAL yet count as valid JSON:
// ingest has checked them.
func (v *Envelope) dataSize(e *wal.Event) int {
	data := e.Data
	switch {
	case v.Format == EnvelopeJSON && (e.Offset == 0 || v.json.of(e)):
		return len(`,"data":`) + len(data)
	case v.Format != EnvelopeBytes && utf8.Valid(data):
		return len(`,"data":`) + stringSize(data)
	}
	return len(`,"data_base64":""`) + base64.StdEncoding.EncodedLen(len(data))
}

// Append appends the line, without its newline, or the array, to dst.
func (v *Envelope) Append(dst []byte, e *wal.Event) []byte {
	if v.MsgPack {
		return v.appendMsgpack(dst, e)
	}
	if v.bare(e) {
		return appendOneLine(dst, e.Data)
	}
	dst = append(dst, `{"id":"`...)
	dst = append(dst, v.log(e.Offset)...)
	dst = append(dst, '/')
	dst = append(dst, v.Stream...)
	dst = append(dst, '/')
	dst = strconv.AppendUint(dst, e.Offset, 10)
	dst = append(dst, `","offset":`...)
	dst = strconv.AppendUint(dst, e.Offset, 10)
	dst = append(dst, `,"time":"`...)
	dst = time.Unix(0, e.Time).UTC().AppendFormat(dst, envelopeTime)
	dst = append(dst, '"')
	if e.Timeline != 0 {
		dst = append(dst, timeUncertain...)
	}
	dst = append(dst, `,"key":`...)
	dst = appendString(dst, e.Key)
	dst = appendAttributes(dst, e.Attributes)
	dst = v.appendData(dst, e)
	return append(dst, '}')
}

func appendAttributes(dst []byte, attributes map[string]string) []byte {
	if len(attributes) == 0 {
		return dst
	}
	dst = append(dst, `,"attributes":`...)
	before := byte('{')
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		dst = append(dst, before)
		dst = appendString(dst, name)
		dst = append(dst, ':')
		dst = appendString(dst, attributes[name])
		before = ','
	}
	return append(dst, '}')
}

// appendData appends the last field. An event that was stored while the stream had another format may not be JSON. It is
// sent as text then, since it must not break the line.
func (v *Envelope) appendData(dst []byte, e *wal.Event) []byte {
	data := e.Data
	switch {
	case v.Format == EnvelopeJSON && v.json.of(e):
		dst = append(dst, `,"data":`...)
		return appendOneLine(dst, data)
	case v.Format != EnvelopeBytes && utf8.Valid(data):
		dst = append(dst, `,"data":`...)
		return appendString(dst, data)
	}
	dst = append(dst, `,"data_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}

// appendOneLine appends JSON with a space for each line break: line breaks only stand between tokens, where both are
// insignificant.
func appendOneLine(dst, data []byte) []byte {
	begin := len(dst)
	dst = append(dst, data...)
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return dst
	}
	for i, c := range dst[begin:] {
		if c == '\n' || c == '\r' {
			dst[begin+i] = ' '
		}
	}
	return dst
}

// stringSize returns the number of bytes that appendString appends.
func stringSize[T string | []byte](s T) int {
	n := len(`""`)
	for i := 0; i < len(s); {
		plain := plainBlocks(s[i:])
		i, n = i+plain, n+plain
		for end := min(i+block, len(s)); i < end; {
			if c := s[i]; c < utf8.RuneSelf {
				n += asciiSize(c)
				i++
				continue
			}
			r, width := decodeRune(s[i:])
			if r == utf8.RuneError && width == 1 {
				n += len(string(utf8.RuneError))
			} else {
				n += width
			}
			i += width
		}
	}
	return n
}

func asciiSize(c byte) int {
	switch {
	case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t':
		return 2
	case c < ' ':
		return len(`\u0000`)
	}
	return 1
}

// block is the number of bytes that plainBlocks looks at together.
const block = 8

// plainBlocks returns the length of the first blocks that a JSON string holds as they are: ASCII without control characters, quotes
// and backslashes.
func plainBlocks[T string | []byte](s T) (n int) {
	const each, top = 0x0101010101010101, 0x8080808080808080
	for ; n+block <= len(s); n += block {
		b := s[n : n+block]
		x := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		// A subtraction sets the top bit of the first byte that is less than the subtracted one.
		quote, backslash := x^each*'"', x^each*'\\'
		if (x|(x-each*' ')|(quote-each)|(backslash-each))&top != 0 {
			return n
		}
	}
	return n
}

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		i += plainBlocks(s[i:])
		for end := min(i+block, len(s)); i < end; {
			var plain bool
			c, width := s[i], 1
			if c < utf8.RuneSelf {
				plain = asciiSize(c) == 1
			} else {
				var r rune
				r, width = decodeRune(s[i:])
				plain = r != utf8.RuneError || width > 1
			}
			if !plain {
				dst = append(dst, s[start:i]...)
				dst = appendEscaped(dst, c)
				start = i + width
			}
			i += width
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscaped appends the escape sequence for c, which a JSON string can't hold.
func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	if c >= utf8.RuneSelf {
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

func decodeRune[T string | []byte](s T) (rune, int) {
	var some [utf8.UTFMax]byte
	return utf8.DecodeRune(some[:copy(some[:], s)])
}
