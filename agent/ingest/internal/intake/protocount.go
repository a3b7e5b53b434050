package intake

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxDecoded is the largest number of protobuf messages that a listener decodes at a time, such as records, attributes
// and their values. An empty record takes two bytes on the wire and two hundred in memory. The decoded messages take 100
// MB at most.
const MaxDecoded = 512 << 10

// CountMessages counts the messages within b, which encodes a d, as deep as proto.Unmarshal decodes. It stops beyond
// most, and where b is malformed.
func CountMessages(b []byte, d protoreflect.MessageDescriptor, depth, most int) (n int) {
	if depth == 0 {
		return 0
	}
	fields := d.Fields()
	for len(b) > 0 && n <= most {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return n
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(num, typ, b); size < 0 {
			return n
		}
		if f := fields.ByNumber(num); f != nil && f.Message() != nil && typ == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(b)
			n += 1 + CountMessages(inner, f.Message(), depth-1, most-n-1)
		}
		b = b[size:]
	}
	return n
}
