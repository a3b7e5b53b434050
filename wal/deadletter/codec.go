package deadletter

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A letter is a value of the bucket "dead". Its key is its ID, 8 bytes, big-endian. Numbers are uvarints, and each text
// follows its length:
//
//	  1 byte    4 bytes
//	+---------+--------+--------+-------------+--------+-------------+--------+-------+
//	| version | sum    | stream | destination | offset | rejected at | reason | frame |
//	+---------+--------+--------+-------------+--------+-------------+--------+-------+
//
// The sum is the CRC-32C of the key and of all bytes after the sum, so a letter under the key of another is detected.
// Rejected at is in Unix nanoseconds, or 0 if it is unknown. The frame is the event as a block stores it: lane, length,
// and key, data, time and attributes in the encoding of standpipe.v1.Event.
const (
	letterVersion = 2
	letterSumAt   = 1
	letterSumOf   = letterSumAt + 4
)

var (
	errLetterShort   = errors.New("the letter is shorter than its header")
	errLetterVersion = errors.New("the letter's version is unknown")
	errLetterSum     = errors.New("the letter's checksum does not match")
	errLetterFields  = errors.New("the letter is malformed")
)

// append encodes the letter that is stored under id.
func (l *Letter) append(b []byte, id uint64) []byte {
	start := len(b)
	b = append(b, letterVersion, 0, 0, 0, 0)
	b = segment.AppendText(b, l.Stream)
	b = segment.AppendText(b, l.Destination)
	b = segment.AppendNumbers(b, l.Event.Offset, segment.UnixNano(l.At))
	b = segment.AppendText(b, l.Reason)
	b = segment.AppendFrame(b, &l.Event, segment.LaneOf(l.Event.Key))
	binary.BigEndian.PutUint32(b[start+letterSumAt:], letterSum(b[start:], id))
	return b
}

// size estimates the length of the letter in bytes.
func (l *Letter) size() int64 {
	return int64(len(l.Stream)+len(l.Destination)+len(l.Reason)+segment.FrameSize(&l.Event)) + 64
}

func letterSum(value []byte, id uint64) uint32 {
	sum := crc32.Checksum(segment.NumberKey(id), segment.Castagnoli)
	return crc32.Update(sum, segment.Castagnoli, value[letterSumOf:])
}

// decode decodes a value of append. The event refers to the bytes of value, which must not change while the letter is
// in use.
func (l *Letter) decode(value []byte, id uint64) error {
	switch {
	case len(value) < letterSumOf:
		return errLetterShort
	case binary.BigEndian.Uint32(value[letterSumAt:]) != letterSum(value, id):
		return errLetterSum
	case value[0] > letterVersion:
		return segment.LaterVersion("dead letter", uint64(value[0]), letterVersion)
	case value[0] != letterVersion:
		return errLetterVersion
	}
	from := segment.Decoder{Rest: value[letterSumOf:]}
	l.Stream, l.Destination = string(from.Text()), string(from.Text())
	l.Event.Offset = from.Number()
	if ns := from.Number(); ns > 0 {
		l.At = time.Unix(0, int64(ns))
	}
	l.Reason = string(from.Text())
	if from.Bad {
		return errLetterFields
	}
	lane, event, rest, err := segment.SplitFrame(from.Rest)
	if err != nil || len(rest) > 0 || segment.DecodeEvent(event, &l.Event) != nil {
		return errLetterFields
	}
	l.Event.Lane = lane
	return nil
}

// stat returns the letter's entry in a list. It shares no memory with the stored value.
func (l *Letter) stat(id uint64) Stat {
	return Stat{
		ID: id, Stream: l.Stream, Destination: l.Destination, Offset: l.Event.Offset,
		Key: strings.Clone(l.Event.Key), Bytes: len(l.Event.Data), Reason: l.Reason, At: l.At,
	}
}
