package ingest_test

import (
	"bytes"
	"strings"
	"testing"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/wal"
)

const export = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

func attribute(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

// exported are two records of one scope of shop, and one without a service.
func exported() *logsv1.LogsData {
	scope := &commonv1.InstrumentationScope{Name: "cart", Version: "1.2"}
	return &logsv1.LogsData{ResourceLogs: []*logsv1.ResourceLogs{
		{Resource: &resourcev1.Resource{Attributes: []*commonv1.KeyValue{attribute("service.name", "shop")}}, ScopeLogs: []*logsv1.ScopeLogs{
			{Scope: scope, LogRecords: []*logsv1.LogRecord{
				{
					TimeUnixNano: 5, SeverityNumber: 9, TraceId: []byte{0xab, 1}, Body: attribute("", "a \"b\"\n\x01").Value,
					Attributes: []*commonv1.KeyValue{
						{Key: "n", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: -7}}},
						{Key: "d", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: 0.5}}},
						{Key: "b", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BytesValue{BytesValue: []byte{0xff}}}},
						{Key: "f", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{}}},
					},
				},
				{ObservedTimeUnixNano: 6, Attributes: []*commonv1.KeyValue{attribute("service.name", "own")}},
			}},
		}},
		{ScopeLogs: []*logsv1.ScopeLogs{{LogRecords: []*logsv1.LogRecord{{}}}}},
	}}
}

func checkExported(t *testing.T, log *fakeLog) {
	t.Helper()
	const begin = `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},` +
		`"scopeLogs":[{"scope":{"name":"cart","version":"1.2"},"logRecords":[`
	want := []wal.Event{
		{Key: "shop", Time: 5, Data: []byte(begin + `{"timeUnixNano":"5","severityNumber":9,"body":{"stringValue":"a \"b\"\n\u0001"},"attributes":[` +
			`{"key":"n","value":{"intValue":"-7"}},{"key":"d","value":{"doubleValue":0.5}},` +
			`{"key":"b","value":{"bytesValue":"/w=="}},{"key":"f","value":{"boolValue":false}}],"traceId":"ab01"}]}]}]}`)},
		{Key: "own", Time: 6, Data: []byte(begin + `{"observedTimeUnixNano":"6","attributes":[{"key":"service.name","value":{"stringValue":"own"}}]}]}]}]}`)},
		{Key: "unknown_service", Time: testTime.UnixNano(), Data: []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}`)},
	}
	got := log.events()
	if len(got) != len(want) || len(log.batches) != 1 {
		t.Fatalf("got %d events in %d batches, want %d in one", len(got), len(log.batches), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Key != w.Key || g.Time != w.Time || string(g.Data) != string(w.Data) {
			t.Errorf("record %d:\ngot  %s %d %s\nwant %s %d %s", i, g.Key, g.Time, g.Data, w.Key, w.Time, w.Data)
		}
	}
}

func TestOTLPOverGRPC(t *testing.T) {
	log := newFakeLog(t)
	s := serve(t, ingest.Options{Type: ingest.GRPC, Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	conn := dial(t, s.Addr())
	if err := conn.Invoke(t.Context(), export, exported(), &emptypb.Empty{}, grpc.UseCompressor("gzip")); err != nil {
		t.Fatal(err)
	}
	checkExported(t, log)
	if err := conn.Invoke(t.Context(), export, &logsv1.LogsData{}, &emptypb.Empty{}); err != nil {
		t.Errorf("a request without records: %v", err)
	}
}

// TestOTLPOfOneRecordThatIsRefused: an SDK drops all that it sent along when the request is.
func TestOTLPOfOneRecordThatIsRefused(t *testing.T) {
	m := exported()
	m.ResourceLogs[0].ScopeLogs[0].LogRecords[1].Attributes[0] = attribute("service.name", strings.Repeat("x", 300))
	encoded, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	const text = "event 1: partition_key has 300 characters; 1 to 256 are allowed"
	want := "\n\x43\b\x01\x12\x3f" + text // partial_success: 1 rejected_log_records, error_message
	counted := &counts{}
	log := newFakeLog(t)
	options := ingest.Options{Log: log, Observer: counted, OTLP: &ingest.OTLPOptions{Stream: "bytes"}}
	w := serveHTTP(t, options)
	if got := w.do("POST", "/v1/logs", string(encoded), "Content-Type: application/x-protobuf"); got.status != 200 || got.body != want {
		t.Errorf("over HTTP: got %d %q, want %q", got.status, got.body, want)
	}
	options.Type = ingest.GRPC
	conn := dial(t, serve(t, options).Addr())
	answer := &emptypb.Empty{}
	if err := conn.Invoke(t.Context(), export, m, answer); err != nil || string(answer.ProtoReflect().GetUnknown()) != want {
		t.Errorf("over gRPC: got %q, %v, want %q", answer.ProtoReflect().GetUnknown(), err, want)
	}
	var keys []string
	for _, e := range log.events() {
		keys = append(keys, e.Key)
	}
	if got := strings.Join(keys, " "); got != "shop unknown_service shop unknown_service" {
		t.Errorf("stored events of %s", got)
	}
	m.ResourceLogs = m.ResourceLogs[:1]
	m.ResourceLogs[0].ScopeLogs[0].LogRecords = m.ResourceLogs[0].ScopeLogs[0].LogRecords[1:]
	if err := conn.Invoke(t.Context(), export, m, answer); status.Code(err) != codes.InvalidArgument {
		t.Errorf("when all are refused: got %v, want INVALID_ARGUMENT", err)
	}
	if _, got := counted.get(); got["bytes/invalid"] != 3 {
		t.Errorf("counted %v, want 3 of bytes/invalid", got)
	}
}

// TestOTLPSaysWhenToTryAgain: an SDK drops a request after RESOURCE_EXHAUSTED without a delay.
func TestOTLPSaysWhenToTryAgain(t *testing.T) {
	log := newFakeLog(t)
	log.refuse = map[int]error{0: &wal.FullError{}, 1: wal.ErrFailed, 2: wal.ErrTooLarge}
	s := serve(t, ingest.Options{Type: ingest.GRPC, Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	conn := dial(t, s.Addr())
	for _, want := range []struct {
		code  codes.Code
		retry bool
	}{{codes.ResourceExhausted, true}, {codes.Unavailable, true}, {codes.InvalidArgument, false}} {
		got := status.Convert(conn.Invoke(t.Context(), export, exported(), &emptypb.Empty{}))
		retry := false
		for _, d := range got.Details() {
			if _, ok := d.(*errdetails.RetryInfo); ok {
				retry = true
			}
		}
		if got.Code() != want.code || retry != want.retry {
			t.Errorf("got %v, RetryInfo %v, want %+v", got, retry, want)
		}
	}
}

func TestOTLPIsBounded(t *testing.T) {
	s := serve(t, ingest.Options{Type: ingest.GRPC, Log: newFakeLog(t), MaxRequestSize: 100_000, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	m := exported()
	m.ResourceLogs[0].Resource.Attributes[0] = attribute("service.name", strings.Repeat("x", 10_000))
	for range 100 {
		m.ResourceLogs[0].ScopeLogs[0].LogRecords = append(m.ResourceLogs[0].ScopeLogs[0].LogRecords, &logsv1.LogRecord{})
	}
	err := dial(t, s.Addr()).Invoke(t.Context(), export, m, &emptypb.Empty{})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "200000 bytes") {
		t.Errorf("got %v", err)
	}
}

// TestOTLPOfNothing: an empty record, or attribute, takes two bytes on the wire and a hundred times that decoded.
func TestOTLPOfNothing(t *testing.T) {
	const n = 600_000
	field := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	options := ingest.Options{Log: newFakeLog(t), OTLP: &ingest.OTLPOptions{Stream: "bytes"}}
	w := serveHTTP(t, options)
	options.Type = ingest.GRPC
	conn := dial(t, serve(t, options).Addr())
	for name, scope := range map[string][]byte{
		"records":    bytes.Repeat([]byte{0x12, 0}, n),
		"attributes": field(2, bytes.Repeat([]byte{0x32, 0}, n)),
	} {
		request := field(1, field(2, scope))
		before := allocated()
		got := w.do("POST", "/v1/logs", string(request), "Content-Type: application/x-protobuf")
		if got.status != 413 {
			t.Errorf("%s: got %d %q", name, got.status, got.body)
		}
		raw := &emptypb.Empty{}
		raw.ProtoReflect().SetUnknown(request)
		if err := conn.Invoke(t.Context(), export, raw, &emptypb.Empty{}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s over gRPC: got %v", name, err)
		}
		if got := allocated() - before; got > 40<<20 {
			t.Errorf("%s: %d bytes were allocated for requests of %d", name, got, len(request))
		}
	}
	if got := w.do("POST", "/v1/logs", string(field(1, field(2, bytes.Repeat([]byte{0x12, 0}, 1000)))), "Content-Type: application/x-protobuf"); got.status != 200 {
		t.Errorf("after them: got %d %q", got.status, got.body)
	}
}

func TestOTLPIsOffOnOtherListeners(t *testing.T) {
	s := serve(t, ingest.Options{Type: ingest.GRPC, Log: newFakeLog(t)})
	err := dial(t, s.Addr()).Invoke(t.Context(), export, exported(), &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want UNIMPLEMENTED", err)
	}
}

func TestOTLPOverHTTP(t *testing.T) {
	log := newFakeLog(t)
	w := serveHTTP(t, ingest.Options{Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	encoded, err := proto.Marshal(exported())
	if err != nil {
		t.Fatal(err)
	}
	const kind = "Content-Type: application/x-protobuf"
	got := w.do("POST", "/v1/logs", packed(t, "gzip", string(encoded)), kind, "Content-Encoding: gzip")
	if got.status != 200 || got.body != "" || got.header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("got %d %q %v", got.status, got.body, got.header)
	}
	checkExported(t, log)
	if got := w.do("POST", "/v1/logs", "{}", "Content-Type: text/plain"); got.status != 415 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := w.do("POST", "/v1/logs", "\xff", kind); got.status != 400 || got.header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}
