package pack

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// The first bytes of MessagePack's formats: https://github.com/msgpack/msgpack/blob/master/spec.md, November 2026. A str or bin
// with a length of 8 bits has the code named here, with 16 bits the next one, with 32 bits the one after it.
const (
	msgpackArrayOf3 = 0x93
	msgpackInt64    = 0xd3
	msgpackFixStr   = 0xa0 // and the length, below 32
	msgpackStr8     = 0xd9
	msgpackBin8     = 0xc4
)

// msgpackSize returns the number of bytes that appendMsgpack appends.
func (v *Envelope) msgpackSize(e *wal.Event) int {
	stream, data := len(v.Stream), len(e.Data)
	n := 1 + lengthSize(stream) + stream + 1 + 8 + lengthSize(data) + data
	if stream < 32 {
		n -= lengthSize(stream) - 1
	}
	return n
}

// msgpackMost returns the number of bytes around data that fill room bytes together with them. The head of the data is
// as large as that of room bytes.
func (v *Envelope) msgpackMost(room int) int {
	return v.msgpackSize(&wal.Event{}) - lengthSize(0) + lengthSize(room)
}

// appendMsgpack appends an array of the stream, the time in milliseconds since 1970, and the data as they are.
func (v *Envelope) appendMsgpack(dst []byte, e *wal.Event) []byte {
	dst = append(dst, msgpackArrayOf3)
	if n := len(v.Stream); n < 32 {
		dst = append(dst, msgpackFixStr|byte(n))
	} else {
		dst = appendLength(dst, msgpackStr8, n)
	}
	dst = append(dst, v.Stream...)
	dst = append(dst, msgpackInt64)
	dst = binary.BigEndian.AppendUint64(dst, uint64(time.Unix(0, e.Time).UnixMilli()))
	dst = appendLength(dst, msgpackBin8, len(e.Data))
	return append(dst, e.Data...)
}

// appendLength appends the head of a str or bin of n bytes. code8 is its code with a length of 8 bits.
func appendLength(dst []byte, code8 byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, code8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, code8+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, code8+2), uint32(n)) // an event has at most 1 GiB
}

// lengthSize returns the number of bytes that appendLength appends.
func lengthSize(n int) int {
	switch {
	case n <= math.MaxUint8:
		return 2
	case n <= math.MaxUint16:
		return 3
	}
	return 5
}
