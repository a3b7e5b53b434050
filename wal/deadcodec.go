package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"time"
)

// A letter is a value of the bucket "dead"; its key is its id, 8 bytes, big-endian. Numbers are
// uvarints, texts have their length before them:
//
//	  1 byte    4 bytes
//	+---------+--------+--------+-------------+--------+------------+--------+-------+
//	| version | sum    | stream | destination | offset | refused at | reason | frame |
//	+---------+--------+--------+-------------+--------+------------+--------+-------+
//
// The sum is the CRC-32C of the key and of all that follows the sum, so that a letter that turns up
// under another's id is none. Refused at is in Unix nanoseconds, 0 when it is not known. The frame
// is the event as a block has it: lane, length, and key, data, time and attributes in the encoding of
// standpipe.v1.Event.
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
func (d *DeadLetter) append(b []byte, id uint64) []byte {
	start := len(b)
	b = append(b, letterVersion, 0, 0, 0, 0)
	b = appendText(b, d.Stream)
	b = appendText(b, d.Destination)
	b = appendNumbers(b, d.Event.Offset, unixNano(d.At))
	b = appendText(b, d.Reason)
	b = appendFrame(b, &d.Event, LaneOf(d.Event.Key))
	binary.BigEndian.PutUint32(b[start+letterSumAt:], letterSum(b[start:], id))
	return b
}

// size returns about the length of the letter.
func (d *DeadLetter) size() int64 {
	return int64(len(d.Stream)+len(d.Destination)+len(d.Reason)+frameSize(&d.Event)) + 64
}

func letterSum(value []byte, id uint64) uint32 {
	sum := crc32.Checksum(numberKey(id), castagnoli)
	return crc32.Update(sum, castagnoli, value[letterSumOf:])
}

// decode reads what append wrote. The event lies in value: a letter that is kept needs a value that is.
func (d *DeadLetter) decode(value []byte, id uint64) error {
	switch {
	case len(value) < letterSumOf:
		return errLetterShort
	case binary.BigEndian.Uint32(value[letterSumAt:]) != letterSum(value, id):
		return errLetterSum
	case value[0] > letterVersion:
		return laterVersion("dead letter", uint64(value[0]), letterVersion)
	case value[0] != letterVersion:
		return errLetterVersion
	}
	from := decoder{b: value[letterSumOf:]}
	d.Stream, d.Destination = string(from.text()), string(from.text())
	d.Event.Offset = from.number()
	if ns := from.number(); ns > 0 {
		d.At = time.Unix(0, int64(ns))
	}
	d.Reason = string(from.text())
	if from.bad {
		return errLetterFields
	}
	lane, event, rest, err := splitFrame(from.b)
	if err != nil || len(rest) > 0 || decodeEvent(event, &d.Event) != nil {
		return errLetterFields
	}
	d.Event.Lane = lane
	return nil
}

// stat returns what a list tells of the letter, in memory of its own.
func (d *DeadLetter) stat(id uint64) DeadStat {
	return DeadStat{
		ID: id, Stream: d.Stream, Destination: d.Destination, Offset: d.Event.Offset,
		Key: strings.Clone(d.Event.Key), Bytes: len(d.Event.Data), Reason: d.Reason, At: d.At,
	}
}
