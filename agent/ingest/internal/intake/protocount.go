package intake

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxDecoded is how many messages (resources, scopes, records, attributes and their values) the OTLP requests
// of a listener may be made of together: an empty record takes two bytes on the wire and two hundred once it
// is decoded. They take 100 MB at most.
const MaxDecoded = 512 << 10

// CountMessages counts the messages within b, which encodes a d, as deep as proto.Unmarshal would go. It stops once
// there are more than most, and where b is no encoding.
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
