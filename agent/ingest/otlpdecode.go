package ingest

import (
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

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
