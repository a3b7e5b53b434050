package ingest

import (
	"context"
	"math"
	"strconv"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/standpipe/standpipe/wal"
)

// OTLPOptions let a listener take OpenTelemetry's logs.
type OTLPOptions struct {
	Stream string // that the records go to
	// Key is the attribute that is the partition key, looked for in the record and then in its
	// resource; default service.name. A record without it goes under "unknown_service".
	Key string
}

// DefaultOTLPKey is what OTLPOptions.Key is unless it is set.
const DefaultOTLPKey = "service.name"

// unknownService is what OpenTelemetry calls a service that has no name (Resource semantic
// conventions, service.name, November 2026).
const unknownService = "unknown_service"

// otlpLogs stores the records of OTLP requests.
type otlpLogs struct {
	in          *intake
	stream, key string
	limit       int   // bytes that the events of a request may have
	room        *room // in messages
}

func newOTLP(in *intake, o *OTLPOptions, maxRequest int) *otlpLogs {
	l := &otlpLogs{in: in, stream: o.Stream, key: o.Key, limit: 2 * maxRequest, room: newRoom(maxDecoded)}
	if l.key == "" {
		l.key = DefaultOTLPKey
	}
	return l
}

// decoder reads a request in one of its encodings. It returns how many messages were taken from the room for it.
type decoder func(b []byte) (m *logsv1.LogsData, messages int64, refused *refusal)

// export stores the records of the request that b encodes, except the records that break a rule. A retryable rejection
// has a retry delay: an SDK retries after RESOURCE_EXHAUSTED only with one (OTLP specification 1.9, Failures).
func (l *otlpLogs) export(ctx context.Context, b []byte, decode decoder) (*taken, *refusal) {
	t := l.take(ctx, b, decode)
	if t.events == 0 && t.err == nil {
		return &t, nil
	}
	_, refused := l.in.finish(ctx, &t)
	if refused == nil || refused.wait() == 0 {
		return &t, refused
	}
	later := *refused
	later.retry = refused.wait()
	return &t, &later
}

// exportAnswer encodes an ExportLogsServiceResponse, whose partial_success counts what was left out. SDKs do not send
// that again.
func exportAnswer(t *taken) []byte {
	if t.left == 0 {
		return nil
	}
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(t.left))
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), t.leftText)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
}

// exportAnswerJSON is exportAnswer in JSON.
func exportAnswerJSON(t *taken) []byte {
	if t.left == 0 {
		return []byte("{}")
	}
	b := strconv.AppendInt([]byte(`{"partialSuccess":{"rejectedLogRecords":"`), int64(t.left), 10)
	return append(appendQuoted(append(b, `","errorMessage":`...), t.leftText), "}}"...)
}

func (l *otlpLogs) take(ctx context.Context, b []byte, decode decoder) taken {
	r := newRequest()
	defer r.free()
	r.batch.Stream, r.json, r.sift, r.awaited = l.stream, true, true, true
	if l.in.isDraining() {
		return taken{stream: l.stream, events: 1, err: errDraining}
	}
	m, messages, refused := decode(b)
	if refused != nil {
		return taken{stream: l.stream, events: 1, err: refused}
	}
	defer l.room.give(messages)
	if refused := l.fill(r, m); refused != nil {
		return taken{stream: l.stream, events: len(r.batch.Events), err: refused}
	}
	if len(r.batch.Events) == 0 {
		return taken{}
	}
	return l.in.take(ctx, r)
}

func (l *otlpLogs) fill(r *request, m *logsv1.LogsData) *refusal {
	now := l.in.clock().UnixNano()
	var document logDocument
	for _, resource := range m.GetResourceLogs() {
		document.beginResource(resource)
		for _, scope := range resource.GetScopeLogs() {
			document.beginScope(scope)
			for _, record := range scope.GetLogRecords() {
				r.batch.Events = append(r.batch.Events, wal.Event{
					Key: l.keyOf(record, resource.GetResource()), Time: timeOf(record, now), Data: document.add(record),
				})
				if document.size > l.limit {
					return tooLarge("the events of the request have more than %d bytes together, each with its resource and scope", l.limit)
				}
			}
		}
	}
	return nil
}

func (l *otlpLogs) keyOf(record *logsv1.LogRecord, resource *resourcev1.Resource) string {
	for _, attributes := range [][]*commonv1.KeyValue{record.GetAttributes(), resource.GetAttributes()} {
		for _, a := range attributes {
			if a.GetKey() == l.key && a.GetValue().GetStringValue() != "" {
				return a.GetValue().GetStringValue()
			}
		}
	}
	return unknownService
}

// timeOf is when it happened, or when it was seen, or else now.
func timeOf(record *logsv1.LogRecord, now int64) int64 {
	for _, at := range []uint64{record.GetTimeUnixNano(), record.GetObservedTimeUnixNano()} {
		if 0 < at && at <= math.MaxInt64 {
			return int64(at)
		}
	}
	return now
}
