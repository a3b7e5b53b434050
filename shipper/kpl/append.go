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

// Overhead is what the format adds around its message: the magic and the MD5, in bytes.
const Overhead = len(Magic) + md5.Size

// Append appends the record that carries payloads under key to dst and returns the result.
// A lone payload is appended as it is unless it begins with Magic.
func Append(dst []byte, key string, payloads [][]byte) []byte {
	if len(payloads) == 1 && !hasMagic(payloads[0]) {
		return append(dst, payloads[0]...)
	}
	dst = append(dst, Magic...)
	start := len(dst)
	dst = protowire.AppendTag(dst, fieldKeyTable, protowire.BytesType)
	dst = protowire.AppendString(dst, key)
	for _, p := range payloads {
		dst = appendPayload(dst, p)
	}
	sum := md5.Sum(dst[start:])
	return append(dst, sum[:]...)
}

func appendPayload(dst, p []byte) []byte {
	dst = protowire.AppendTag(dst, fieldRecords, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(innerSize(len(p))))
	dst = protowire.AppendTag(dst, fieldKeyIndex, protowire.VarintType)
	dst = protowire.AppendVarint(dst, 0)
	dst = protowire.AppendTag(dst, fieldData, protowire.BytesType)
	return protowire.AppendBytes(dst, p)
}

func hasMagic(p []byte) bool {
	return len(p) >= len(Magic) && string(p[:len(Magic)]) == Magic
}
