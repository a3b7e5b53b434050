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
//	+---------+--------+------+
//	| version | sum    | body |    version 2
//	+---------+--------+--------+------+
//	| version | sum    | length | body |    version 3, length up to 989
//	+---------+--------+--------+------+------+
//	| version | sum    | length | sum of body |    version 3, length above that: the body is in parts
//	+---------+--------+--------+-------------+
//
//	+--------+-------------+--------+-------------+--------+-------+
//	| stream | destination | offset | rejected at | reason | frame |    body
//	+--------+-------------+--------+-------------+--------+-------+
//
// The sum is the CRC-32C of the key and of all bytes after the sum, so a letter under the key of another is detected.
// The sum of the body is its CRC-32C. Rejected at is in Unix nanoseconds, or 0 if it is unknown. The frame is the event as a
// block stores it: lane, length, and key, data, time and attributes in the encoding of standpipe.v1.Event.
//
// Version 2 has no parts. It is written while the file has no letter in parts. So the last letter of a file with parts
// always has version 3, and a release that knows no parts finds a later version there and changes nothing.
const (
	versionWhole  = 2
	letterVersion = 3
	letterSumAt   = 1
	letterSumOf   = letterSumAt + 4

	// mostInline is the most bytes of a body that is stored in its letter's value.
	mostInline = mostEntry - 8 - letterSumOf - 2
)

var (
	errLetterShort   = errors.New("the letter is shorter than its header")
	errLetterVersion = errors.New("the letter's version is unknown")
	errLetterSum     = errors.New("the letter's checksum does not match")
	errLetterFields  = errors.New("the letter is malformed")
	errLetterParts   = errors.New("a part of the letter is missing or belongs elsewhere")
)

// appendBody encodes the letter's fields.
func (l *Letter) appendBody(b []byte) []byte {
	b = segment.AppendText(b, l.Stream)
	b = segment.AppendText(b, l.Destination)
	b = segment.AppendNumbers(b, l.Event.Offset, segment.UnixNano(l.At))
	b = segment.AppendText(b, l.Reason)
	return segment.AppendFrame(b, &l.Event, segment.LaneOf(l.Event.Key))
}

// bodySize returns an upper bound of the length of the letter's body.
func (l *Letter) bodySize() int {
	return len(l.Stream) + len(l.Destination) + len(l.Reason) + segment.FrameSize(&l.Event) + 64
}

// letterValue returns the value of the letter with that ID and body. besideParts: the file has letters in parts.
func letterValue(id uint64, body []byte, besideParts bool) []byte {
	b := make([]byte, letterSumOf, letterSumOf+2+min(len(body), mostInline)+4)
	b[0] = letterVersion
	switch {
	case len(body) > mostInline:
		b = segment.AppendNumbers(b, uint64(len(body)))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, segment.Castagnoli))
	case besideParts:
		b = segment.AppendNumbers(b, uint64(len(body)))
		b = append(b, body...)
	default:
		b[0] = versionWhole
		b = append(b, body...)
	}
	binary.BigEndian.PutUint32(b[letterSumAt:], letterSum(b, id))
	return b
}

func letterSum(value []byte, id uint64) uint32 {
	sum := crc32.Checksum(segment.NumberKey(id), segment.Castagnoli)
	return crc32.Update(sum, segment.Castagnoli, value[letterSumOf:])
}

// head is the decoded value of a letter.
type head struct {
	body []byte // in the value; nil: it is in parts

	length uint64 // of a body in parts
	sum    uint32 // of a body in parts
}

// decodeHead decodes a result of letterValue. The head refers to the bytes of value.
func decodeHead(value []byte, id uint64) (h head, err error) {
	switch {
	case len(value) < letterSumOf:
		return h, errLetterShort
	case binary.BigEndian.Uint32(value[letterSumAt:]) != letterSum(value, id):
		return h, errLetterSum
	case value[0] > letterVersion:
		return h, segment.LaterVersion("dead letter", uint64(value[0]), letterVersion)
	case value[0] == versionWhole:
		return head{body: value[letterSumOf:]}, nil
	case value[0] != letterVersion:
		return h, errLetterVersion
	}
	from := segment.Decoder{Rest: value[letterSumOf:]}
	h.length = from.Number()
	switch {
	case from.Bad:
		return h, errLetterFields
	case h.length <= mostInline && uint64(len(from.Rest)) == h.length:
		return head{body: from.Rest}, nil
	case h.length <= mostInline || len(from.Rest) != 4:
		return h, errLetterFields
	}
	h.sum = binary.BigEndian.Uint32(from.Rest)
	return h, nil
}

// decodeBody decodes a result of appendBody. The event refers to the bytes of body, which must not change while the
// letter is in use.
func (l *Letter) decodeBody(body []byte) error {
	from := segment.Decoder{Rest: body}
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
