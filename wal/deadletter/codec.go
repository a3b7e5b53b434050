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
func (d *Letter) append(b []byte, id uint64) []byte {
	start := len(b)
	b = append(b, letterVersion, 0, 0, 0, 0)
	b = segment.AppendText(b, d.Stream)
	b = segment.AppendText(b, d.Destination)
	b = segment.AppendNumbers(b, d.Event.Offset, segment.UnixNano(d.At))
	b = segment.AppendText(b, d.Reason)
	b = segment.AppendFrame(b, &d.Event, segment.LaneOf(d.Event.Key))
	binary.BigEndian.PutUint32(b[start+letterSumAt:], letterSum(b[start:], id))
	return b
}

// size estimates the length of the letter in bytes.
func (d *Letter) size() int64 {
	return int64(len(d.Stream)+len(d.Destination)+len(d.Reason)+segment.FrameSize(&d.Event)) + 64
}

func letterSum(value []byte, id uint64) uint32 {
	sum := crc32.Checksum(segment.NumberKey(id), segment.Castagnoli)
	return crc32.Update(sum, segment.Castagnoli, value[letterSumOf:])
}

// decode decodes a value of append. The event refers to the bytes of value, which must not change while the letter is
// in use.
func (d *Letter) decode(value []byte, id uint64) error {
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
	d.Stream, d.Destination = string(from.Text()), string(from.Text())
	d.Event.Offset = from.Number()
	if ns := from.Number(); ns > 0 {
		d.At = time.Unix(0, int64(ns))
	}
	d.Reason = string(from.Text())
	if from.Bad {
		return errLetterFields
	}
	lane, event, rest, err := segment.SplitFrame(from.Rest)
	if err != nil || len(rest) > 0 || segment.DecodeEvent(event, &d.Event) != nil {
		return errLetterFields
	}
	d.Event.Lane = lane
	return nil
}

// stat returns the letter's entry in a list. It shares no memory with the stored value.
func (d *Letter) stat(id uint64) Stat {
	return Stat{
		ID: id, Stream: d.Stream, Destination: d.Destination, Offset: d.Event.Offset,
		Key: strings.Clone(d.Event.Key), Bytes: len(d.Event.Data), Reason: d.Reason, At: d.At,
	}
}
