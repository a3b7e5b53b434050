package otlp

import (
	"context"
	"math"
	"strconv"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/wal"
)

// Options let a listener take the logs of OpenTelemetry.
type Options struct {
	Stream string // that the records go to
	// Key is the attribute that is the partition key, looked for in the record and then in its
	// resource; default service.name. A record without it goes under "unknown_service".
	Key string
}

// DefaultKey is the default of Options.Key.
const DefaultKey = "service.name"

// unknownService is the name of a service without a name (Resource semantic conventions, service.name, November 2026).
const unknownService = "unknown_service"

// Logs stores the records of OTLP requests.
type Logs struct {
	in          *intake.Intake
	stream, key string
	limit       int            // bytes of the events of a request
	budget      *budget.Budget // messages in decoding
}

func New(in *intake.Intake, o *Options, maxRequest int) *Logs {
	l := &Logs{in: in, stream: o.Stream, key: o.Key, limit: 2 * maxRequest, budget: budget.New(intake.MaxDecoded)}
	if l.key == "" {
		l.key = DefaultKey
	}
	return l
}

// Decoder reads a request in one of its encodings. It returns the number of messages acquired from the budget.
type Decoder func(b []byte) (m *logsv1.LogsData, messages int64, refused *intake.Rejection)

// Export stores the records of the request that b encodes, except the records that break a rule. A retryable rejection
// has a retry delay: an SDK retries after RESOURCE_EXHAUSTED only with one (OTLP specification 1.9, Failures).
func (l *Logs) Export(ctx context.Context, b []byte, decode Decoder) (*intake.Submission, *intake.Rejection) {
	t := l.submit(ctx, b, decode)
	if t.Events == 0 && t.Rejected == nil {
		return &t, nil
	}
	_, refused := l.in.Await(ctx, &t)
	if refused == nil || refused.RetryAfter() == 0 {
		return &t, refused
	}
	later := *refused
	later.Retry = refused.RetryAfter()
	return &t, &later
}

// Response encodes an ExportLogsServiceResponse. Its partial_success counts the omitted records, which SDKs do not send
// again.
func Response(t *intake.Submission) []byte {
	if t.Omitted == 0 {
		return nil
	}
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(t.Omitted))
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), t.OmittedText)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
}

// ResponseJSON is exportAnswer in JSON.
func ResponseJSON(t *intake.Submission) []byte {
	if t.Omitted == 0 {
		return []byte("{}")
	}
	b := strconv.AppendInt([]byte(`{"partialSuccess":{"rejectedLogRecords":"`), int64(t.Omitted), 10)
	return append(appendQuoted(append(b, `","errorMessage":`...), t.OmittedText), "}}"...)
}

func (l *Logs) submit(ctx context.Context, b []byte, decode Decoder) intake.Submission {
	r := intake.NewRequest()
	defer r.Free()
	r.Batch.Stream, r.JSON, r.Partial, r.Awaited = l.stream, true, true, true
	if l.in.IsDraining() {
		return intake.Submission{Stream: l.stream, Events: 1, Rejected: intake.ErrDraining}
	}
	m, messages, refused := decode(b)
	if refused != nil {
		return intake.Submission{Stream: l.stream, Events: 1, Rejected: refused}
	}
	defer l.budget.Release(messages)
	if refused := l.fill(r, m); refused != nil {
		return intake.Submission{Stream: l.stream, Events: len(r.Batch.Events), Rejected: refused}
	}
	if len(r.Batch.Events) == 0 {
		return intake.Submission{}
	}
	return l.in.Submit(ctx, r)
}

func (l *Logs) fill(r *intake.Request, m *logsv1.LogsData) *intake.Rejection {
	now := l.in.Clock()
	var document logDocument
	for _, resource := range m.GetResourceLogs() {
		document.beginResource(resource)
		for _, scope := range resource.GetScopeLogs() {
			document.beginScope(scope)
			for _, record := range scope.GetLogRecords() {
				event := wal.Event{Key: l.keyOf(record, resource.GetResource()), Time: timeOf(record), Data: document.add(record)}
				now.On(&event)
				r.Batch.Events = append(r.Batch.Events, event)
				if document.size > l.limit {
					return intake.TooLarge("the events of the request have more than %d bytes together, each with its resource and scope", l.limit)
				}
			}
		}
	}
	return nil
}

func (l *Logs) keyOf(record *logsv1.LogRecord, resource *resourcev1.Resource) string {
	for _, attributes := range [][]*commonv1.KeyValue{record.GetAttributes(), resource.GetAttributes()} {
		for _, a := range attributes {
			if a.GetKey() == l.key && a.GetValue().GetStringValue() != "" {
				return a.GetValue().GetStringValue()
			}
		}
	}
	return unknownService
}

// timeOf is when it happened, or when it was seen; 0: unknown.
func timeOf(record *logsv1.LogRecord) int64 {
	for _, at := range []uint64{record.GetTimeUnixNano(), record.GetObservedTimeUnixNano()} {
		if 0 < at && at <= math.MaxInt64 {
			return int64(at)
		}
	}
	return 0
}
