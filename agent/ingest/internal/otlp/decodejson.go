package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"

	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
)

// DecodeJSON is decode for a request in OTLP/JSON. That is protobuf's JSON, in which enums may be numbers and 64-bit
// numbers may be strings, but with the IDs of traces and spans in hex. Unknown fields are skipped (OTLP specification
// 1.9, JSON Protobuf Encoding).
func (l *Logs) DecodeJSON(b []byte) (m *logsv1.LogsData, messages int64, refused *intake.Rejection) {
	b = jsonscan.TrimMark(b)
	if fault, ok := jsonscan.Valid(b); !ok {
		return nil, 0, intake.Invalid("the body of %d bytes is not valid JSON from byte %d on%s", len(b), fault, jsonscan.DescribeMark(b, fault))
	}
	n := objectsIn(b, intake.MaxDecoded)
	if n > intake.MaxDecoded {
		return nil, 0, intake.TooLarge("the request is made of more than %d records, attributes and values", intake.MaxDecoded)
	}
	messages = int64(n)
	if !l.budget.Acquire(messages) {
		return nil, 0, intake.ErrOverBudget
	}
	m = new(logsv1.LogsData)
	err := protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: protowire.DefaultRecursionLimit}.Unmarshal(b, m)
	if err == nil {
		err = hexIDs(m)
	}
	if err != nil {
		l.budget.Release(messages)
		return nil, 0, intake.Invalid("the body of %d bytes is no ExportLogsServiceRequest in JSON: %s", len(b), jsonFault(err))
	}
	return m, messages, nil
}

// objectsIn counts the objects of a value; each may become a message. It stops beyond most.
func objectsIn(b []byte, most int) (n int) {
	for i := 0; i < len(b) && n <= most; {
		switch b[i] {
		case '"':
			i = jsonscan.StringEnd(b, i)
			continue
		case '{':
			n++
		}
		i++
	}
	return n
}

// hexIDs decodes the IDs from hex. protojson has decoded their text as base64, since hex digits are valid base64;
// encoding the bytes as base64 restores the text.
func hexIDs(m *logsv1.LogsData) error {
	for _, resource := range m.GetResourceLogs() {
		for _, scope := range resource.GetScopeLogs() {
			for _, record := range scope.GetLogRecords() {
				for name, id := range map[string]*[]byte{"traceId": &record.TraceId, "spanId": &record.SpanId} {
					decoded, err := hex.DecodeString(base64.StdEncoding.EncodeToString(*id))
					if err != nil {
						return fmt.Errorf("%s is not in hexadecimal", name)
					}
					*id = decoded
				}
			}
		}
	}
	return nil
}

// whereJSON is the part of protojson's errors that repeats nothing of the body.
var whereJSON = regexp.MustCompile(`\(line \d+:\d+\)(: invalid value for \w+ field \w+)?`)

// jsonFault returns the part of err that repeats nothing of the body, or all of err if it has no such part.
func jsonFault(err error) string {
	if where := whereJSON.FindString(err.Error()); where != "" {
		return where
	}
	return err.Error()
}
