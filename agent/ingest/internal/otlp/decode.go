package otlp

import (
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// Decode decodes b, and returns the number of messages acquired from the budget, which the caller releases.
func (l *Logs) Decode(b []byte) (m *logsv1.LogsData, messages int64, refused *intake.Rejection) {
	m = new(logsv1.LogsData)
	n := intake.CountMessages(b, m.ProtoReflect().Descriptor(), protowire.DefaultRecursionLimit, intake.MaxDecoded)
	if n > intake.MaxDecoded {
		return nil, 0, intake.TooLarge("the request is made of more than %d records, attributes and values", intake.MaxDecoded)
	}
	messages = int64(n)
	if !l.budget.Acquire(messages) {
		return nil, 0, intake.ErrOverBudget
	}
	if err := proto.Unmarshal(b, m); err != nil {
		l.budget.Release(messages)
		return nil, 0, intake.Invalid("the body of %d bytes is no ExportLogsServiceRequest", len(b))
	}
	return m, messages, nil
}
