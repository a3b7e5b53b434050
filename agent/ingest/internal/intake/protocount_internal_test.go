package intake

import (
	"testing"

	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FuzzMessagesIn: a decoded request has no more messages than were counted.
func FuzzMessagesIn(f *testing.F) {
	record := []byte{0x2a, 0x03, 0x0a, 0x01, 'x', 0x32, 0x05, 0x0a, 0x01, 'k', 0x12, 0x00} // a body and an attribute
	scope := protowire.AppendBytes([]byte{0x12, 0x00, 0x12}, record)
	f.Add(protowire.AppendBytes([]byte{0x0a}, protowire.AppendBytes([]byte{0x12}, scope)))
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00, 0x0a, 0x00})
	f.Add([]byte{0x0a, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m logsv1.LogsData
		d := m.ProtoReflect().Descriptor()
		counted := CountMessages(b, d, protowire.DefaultRecursionLimit, len(b))
		if proto.Unmarshal(b, &m) == nil && counted < messagesOf(m.ProtoReflect()) {
			t.Errorf("got %d, want at least %d", counted, messagesOf(m.ProtoReflect()))
		}
		if most := counted / 2; CountMessages(b, d, protowire.DefaultRecursionLimit, most) <= most && counted > 0 {
			t.Errorf("%d of %d messages are more than %d, and were not counted", counted, counted, most)
		}
	})
}

func messagesOf(m protoreflect.Message) (n int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				n += 1 + messagesOf(v.List().Get(i).Message())
			}
		default:
			n += 1 + messagesOf(v.Message())
		}
		return true
	})
	return n
}
