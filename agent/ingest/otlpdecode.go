package ingest

import (
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDecoded is how many messages (resources, scopes, records, attributes and their values) the OTLP requests
// of a listener may be made of together: an empty record takes two bytes on the wire and two hundred once it
// is decoded. They take 100 MB at most.
const maxDecoded = 512 << 10

// decode returns what b says, and how many messages were taken from the room for it, which are to be given back.
func (l *otlpLogs) decode(b []byte) (m *logsv1.LogsData, messages int64, refused *refusal) {
	m = new(logsv1.LogsData)
	n := messagesIn(b, m.ProtoReflect().Descriptor(), protowire.DefaultRecursionLimit, maxDecoded)
	if n > maxDecoded {
		return nil, 0, tooLarge("the request is made of more than %d records, attributes and values", maxDecoded)
	}
	messages = int64(n)
	if !l.room.take(messages) {
		return nil, 0, errNoRoom
	}
	if err := proto.Unmarshal(b, m); err != nil {
		l.room.give(messages)
		return nil, 0, invalid("the body of %d bytes is no ExportLogsServiceRequest", len(b))
	}
	return m, messages, nil
}

// messagesIn counts the messages within b, which encodes a d, as deep as proto.Unmarshal would go. It stops once
// there are more than most, and where b is no encoding.
func messagesIn(b []byte, d protoreflect.MessageDescriptor, depth, most int) (n int) {
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
			n += 1 + messagesIn(inner, f.Message(), depth-1, most-n-1)
		}
		b = b[size:]
	}
	return n
}
