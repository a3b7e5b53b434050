package kpl

import (
	"crypto/md5"

	"google.golang.org/protobuf/encoding/protowire"
)

// Magic begins every aggregated record.
const Magic = "\xf3\x89\x9a\xc2"

// Field numbers of AggregatedRecord and of its Record.
const (
	fieldKeyTable = 1
	fieldRecords  = 3

	fieldKeyIndex = 1
	fieldData     = 3
)

// Overhead is the length of the format around its message: the magic and the MD5, in bytes.
const Overhead = len(Magic) + md5.Size

// Group is the payloads of one key in a record, in their order.
type Group struct {
	Key      string
	Payloads [][]byte
}

// Append appends the record that carries the payloads of one key or several to dst and returns the result:
// each key once and with a payload at least, one key's after another's. A lone payload is appended as it
// is unless it begins with Magic. The record has to go out under the first of the keys; where there are
// others, they have to lie in the same shard.
func Append(dst []byte, groups []Group) []byte {
	if len(groups) == 1 && len(groups[0].Payloads) == 1 && !hasMagic(groups[0].Payloads[0]) {
		return append(dst, groups[0].Payloads[0]...)
	}
	dst = append(dst, Magic...)
	start := len(dst)
	for i := range groups {
		dst = protowire.AppendTag(dst, fieldKeyTable, protowire.BytesType)
		dst = protowire.AppendString(dst, groups[i].Key)
	}
	for i := range groups {
		for _, p := range groups[i].Payloads {
			dst = appendPayload(dst, i, p)
		}
	}
	sum := md5.Sum(dst[start:])
	return append(dst, sum[:]...)
}

func appendPayload(dst []byte, key int, p []byte) []byte {
	dst = protowire.AppendTag(dst, fieldRecords, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(innerSize(key, len(p))))
	dst = protowire.AppendTag(dst, fieldKeyIndex, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(key))
	dst = protowire.AppendTag(dst, fieldData, protowire.BytesType)
	return protowire.AppendBytes(dst, p)
}

func hasMagic(p []byte) bool {
	return len(p) >= len(Magic) && string(p[:len(Magic)]) == Magic
}
