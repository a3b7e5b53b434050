package ingestkit

import (
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	_ "google.golang.org/grpc/encoding/gzip"
)

// Export is the method of OTLP logs.
const Export = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// Attribute returns an attribute with a text.
func Attribute(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

// Exported returns two records of one scope of shop, and one without a service.
func Exported() *logsv1.LogsData {
	scope := &commonv1.InstrumentationScope{Name: "cart", Version: "1.2"}
	return &logsv1.LogsData{ResourceLogs: []*logsv1.ResourceLogs{
		{Resource: &resourcev1.Resource{Attributes: []*commonv1.KeyValue{Attribute("service.name", "shop")}}, ScopeLogs: []*logsv1.ScopeLogs{
			{Scope: scope, LogRecords: []*logsv1.LogRecord{
				{
					TimeUnixNano: 5, SeverityNumber: 9, TraceId: []byte{0xab, 1}, Body: Attribute("", "a \"b\"\n\x01").Value,
					Attributes: []*commonv1.KeyValue{
						{Key: "n", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: -7}}},
						{Key: "d", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: 0.5}}},
						{Key: "b", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BytesValue{BytesValue: []byte{0xff}}}},
						{Key: "f", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{}}},
					},
				},
				{ObservedTimeUnixNano: 6, Attributes: []*commonv1.KeyValue{Attribute("service.name", "own")}},
			}},
		}},
		{ScopeLogs: []*logsv1.ScopeLogs{{LogRecords: []*logsv1.LogRecord{{}}}}},
	}}
}

// JSON is the content type of OTLP in JSON.
const JSON = "Content-Type: application/json"
