package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"

	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// logDocument makes an event of each record: a whole OTLP/JSON document of logs on one line, which
// every reader of that encoding takes (OTLP specification 1.9, JSON Protobuf Encoding):
//
//	{"resourceLogs":[{"resource":{...},"scopeLogs":[{"scope":{...},"logRecords":[{...}]}]}]}
type logDocument struct {
	resource []byte // up to the scopes
	scope    []byte // up to the records
	size     int    // of all events
	buffer   []byte // of events; those before lie in others, once it has been full
}

// The fields that hold the next level, which are written by themselves.
var (
	scopeLogsField  = fieldNumber(&logsv1.ResourceLogs{}, "scope_logs")
	logRecordsField = fieldNumber(&logsv1.ScopeLogs{}, "log_records")
)

func fieldNumber(m interface{ ProtoReflect() protoreflect.Message }, name protoreflect.Name) protoreflect.FieldNumber {
	return m.ProtoReflect().Descriptor().Fields().ByName(name).Number()
}

func (d *logDocument) beginResource(r *logsv1.ResourceLogs) {
	d.resource = append(d.resource[:0], `{"resourceLogs":[{`...)
	d.resource = appendFields(d.resource, r.ProtoReflect(), scopeLogsField)
	d.resource = append(d.resource, `"scopeLogs":[{`...)
}

func (d *logDocument) beginScope(s *logsv1.ScopeLogs) {
	d.scope = appendFields(d.scope[:0], s.ProtoReflect(), logRecordsField)
	d.scope = append(d.scope, `"logRecords":[`...)
}

func (d *logDocument) add(record *logsv1.LogRecord) []byte {
	begin := len(d.buffer)
	d.buffer = append(append(d.buffer, d.resource...), d.scope...)
	d.buffer = appendMessage(d.buffer, record.ProtoReflect())
	d.buffer = append(d.buffer, `]}]}]}`...)
	d.size += len(d.buffer) - begin
	return d.buffer[begin:len(d.buffer):len(d.buffer)]
}

// appendMessage appends m as OTLP/JSON: protobuf's JSON with the IDs of traces and spans in hex and
// enums as numbers. protojson writes neither, nor the same bytes twice.
func appendMessage(dst []byte, m protoreflect.Message) []byte {
	dst = append(dst, '{')
	before := len(dst)
	dst = appendFields(dst, m, 0)
	if len(dst) > before {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '}')
}

// appendFields appends the fields that are there, but for one, each with a comma after it.
func appendFields(dst []byte, m protoreflect.Message, but protoreflect.FieldNumber) []byte {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Number() == but || !m.Has(f) {
			continue
		}
		dst = append(appendQuoted(dst, f.JSONName()), ':')
		if f.IsList() {
			dst = appendList(dst, m.Get(f).List(), f)
		} else {
			dst = appendScalar(dst, m.Get(f), f)
		}
		dst = append(dst, ',')
	}
	return dst
}

func appendList(dst []byte, list protoreflect.List, f protoreflect.FieldDescriptor) []byte {
	dst = append(dst, '[')
	for i := range list.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendScalar(dst, list.Get(i), f)
	}
	return append(dst, ']')
}

func appendScalar(dst []byte, v protoreflect.Value, f protoreflect.FieldDescriptor) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return appendMessage(dst, v.Message())
	case protoreflect.StringKind:
		return appendQuoted(dst, v.String())
	case protoreflect.BytesKind:
		return appendBytes(dst, v.Bytes(), f)
	case protoreflect.DoubleKind:
		return appendDouble(dst, v.Float())
	case protoreflect.EnumKind:
		return strconv.AppendInt(dst, int64(v.Enum()), 10)
	case protoreflect.Int64Kind:
		return append(strconv.AppendInt(append(dst, '"'), v.Int(), 10), '"')
	case protoreflect.Fixed64Kind, protoreflect.Uint64Kind:
		return append(strconv.AppendUint(append(dst, '"'), v.Uint(), 10), '"')
	}
	return append(dst, v.String()...) // booleans and numbers of 32 bits
}

func appendBytes(dst, b []byte, f protoreflect.FieldDescriptor) []byte {
	dst = append(dst, '"')
	if f.Name() == "trace_id" || f.Name() == "span_id" {
		dst = hex.AppendEncode(dst, b)
	} else {
		dst = base64.StdEncoding.AppendEncode(dst, b)
	}
	return append(dst, '"')
}

func appendDouble(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

// appendQuoted appends s, which is valid UTF-8, as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
