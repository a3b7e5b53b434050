package otlp_test

import (
	"bytes"
	"strings"
	"testing"

	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

func checkExported(t *testing.T, log *ingestkit.Log) {
	t.Helper()
	const begin = `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},` +
		`"scopeLogs":[{"scope":{"name":"cart","version":"1.2"},"logRecords":[`
	want := []wal.Event{
		{Key: "shop", Time: 5, Data: []byte(begin + `{"timeUnixNano":"5","severityNumber":9,"body":{"stringValue":"a \"b\"\n\u0001"},"attributes":[` +
			`{"key":"n","value":{"intValue":"-7"}},{"key":"d","value":{"doubleValue":0.5}},` +
			`{"key":"b","value":{"bytesValue":"/w=="}},{"key":"f","value":{"boolValue":false}}],"traceId":"ab01"}]}]}]}`)},
		{Key: "own", Time: 6, Data: []byte(begin + `{"observedTimeUnixNano":"6","attributes":[{"key":"service.name","value":{"stringValue":"own"}}]}]}]}]}`)},
		{Key: "unknown_service", Time: ingestkit.Now.UnixNano(), Data: []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}`)},
	}
	got := log.Events()
	if len(got) != len(want) || len(log.Batches) != 1 {
		t.Fatalf("got %d events in %d batches, want %d in one", len(got), len(log.Batches), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Key != w.Key || g.Time != w.Time || string(g.Data) != string(w.Data) {
			t.Errorf("record %d:\ngot  %s %d %s\nwant %s %d %s", i, g.Key, g.Time, g.Data, w.Key, w.Time, w.Data)
		}
	}
}

func TestOTLP_OverGRPC(t *testing.T) {
	log := ingestkit.NewLog(t)
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	conn := ingestkit.Dial(t, s.Addr())
	if err := conn.Invoke(t.Context(), ingestkit.Export, ingestkit.Exported(), &emptypb.Empty{}, grpc.UseCompressor("gzip")); err != nil {
		t.Fatal(err)
	}
	checkExported(t, log)
	if err := conn.Invoke(t.Context(), ingestkit.Export, &logsv1.LogsData{}, &emptypb.Empty{}); err != nil {
		t.Errorf("a request without records: %v", err)
	}
}

// TestOTLP_OneRejectedRecord: an SDK drops all that it sent along when the request is.
func TestOTLP_OneRejectedRecord(t *testing.T) {
	m := ingestkit.Exported()
	m.ResourceLogs[0].ScopeLogs[0].LogRecords[1].Attributes[0] = ingestkit.Attribute("service.name", strings.Repeat("x", 300))
	encoded, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	const text = "event 1: partition_key has 300 characters; 1 to 256 are allowed"
	want := "\n\x43\b\x01\x12\x3f" + text // partial_success: 1 rejected_log_records, error_message
	counted := &ingestkit.Counts{}
	log := ingestkit.NewLog(t)
	options := ingest.Options{Log: log, Observer: counted, OTLP: &ingest.OTLPOptions{Stream: "bytes"}}
	w := ingestkit.ServeHTTP(t, options)
	if got := w.Do("POST", "/v1/logs", string(encoded), "Content-Type: application/x-protobuf"); got.Status != 200 || got.Body != want {
		t.Errorf("over HTTP: got %d %q, want %q", got.Status, got.Body, want)
	}
	options.Type = ingest.GRPC
	conn := ingestkit.Dial(t, ingestkit.Serve(t, options).Addr())
	answer := &emptypb.Empty{}
	if err := conn.Invoke(t.Context(), ingestkit.Export, m, answer); err != nil || string(answer.ProtoReflect().GetUnknown()) != want {
		t.Errorf("over gRPC: got %q, %v, want %q", answer.ProtoReflect().GetUnknown(), err, want)
	}
	var keys []string
	for _, e := range log.Events() {
		keys = append(keys, e.Key)
	}
	if got := strings.Join(keys, " "); got != "shop unknown_service shop unknown_service" {
		t.Errorf("stored events of %s", got)
	}
	m.ResourceLogs = m.ResourceLogs[:1]
	m.ResourceLogs[0].ScopeLogs[0].LogRecords = m.ResourceLogs[0].ScopeLogs[0].LogRecords[1:]
	if err := conn.Invoke(t.Context(), ingestkit.Export, m, answer); status.Code(err) != codes.InvalidArgument {
		t.Errorf("when all are refused: got %v, want INVALID_ARGUMENT", err)
	}
	if _, got := counted.Get(); got["bytes/invalid"] != 3 {
		t.Errorf("counted %v, want 3 of bytes/invalid", got)
	}
}

// TestOTLP_HasARetryDelay: an SDK drops a request after RESOURCE_EXHAUSTED without a delay.
func TestOTLP_HasARetryDelay(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Refuse = map[int]error{0: &wal.FullError{}, 1: wal.ErrFailed, 2: wal.ErrTooLarge}
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	conn := ingestkit.Dial(t, s.Addr())
	for _, want := range []struct {
		code  codes.Code
		retry bool
	}{{codes.ResourceExhausted, true}, {codes.Unavailable, true}, {codes.InvalidArgument, false}} {
		got := status.Convert(conn.Invoke(t.Context(), ingestkit.Export, ingestkit.Exported(), &emptypb.Empty{}))
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

func TestOTLP_IsBounded(t *testing.T) {
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t), MaxRequestSize: 100_000, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	m := ingestkit.Exported()
	m.ResourceLogs[0].Resource.Attributes[0] = ingestkit.Attribute("service.name", strings.Repeat("x", 10_000))
	for range 100 {
		m.ResourceLogs[0].ScopeLogs[0].LogRecords = append(m.ResourceLogs[0].ScopeLogs[0].LogRecords, &logsv1.LogRecord{})
	}
	err := ingestkit.Dial(t, s.Addr()).Invoke(t.Context(), ingestkit.Export, m, &emptypb.Empty{})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "200000 bytes") {
		t.Errorf("got %v", err)
	}
}

// TestOTLP_WithoutRecords: an empty record, or attribute, takes two bytes on the wire and a hundred times that decoded.
func TestOTLP_WithoutRecords(t *testing.T) {
	const n = 600_000
	field := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	options := ingest.Options{Log: ingestkit.NewLog(t), OTLP: &ingest.OTLPOptions{Stream: "bytes"}}
	w := ingestkit.ServeHTTP(t, options)
	options.Type = ingest.GRPC
	conn := ingestkit.Dial(t, ingestkit.Serve(t, options).Addr())
	for name, scope := range map[string][]byte{
		"records":    bytes.Repeat([]byte{0x12, 0}, n),
		"attributes": field(2, bytes.Repeat([]byte{0x32, 0}, n)),
	} {
		request := field(1, field(2, scope))
		before := ingestkit.Allocated()
		got := w.Do("POST", "/v1/logs", string(request), "Content-Type: application/x-protobuf")
		if got.Status != 413 {
			t.Errorf("%s: got %d %q", name, got.Status, got.Body)
		}
		raw := &emptypb.Empty{}
		raw.ProtoReflect().SetUnknown(request)
		if err := conn.Invoke(t.Context(), ingestkit.Export, raw, &emptypb.Empty{}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s over gRPC: got %v", name, err)
		}
		if got := ingestkit.Allocated() - before; got > 40<<20 {
			t.Errorf("%s: %d bytes were allocated for requests of %d", name, got, len(request))
		}
	}
	if got := w.Do("POST", "/v1/logs", string(field(1, field(2, bytes.Repeat([]byte{0x12, 0}, 1000)))), "Content-Type: application/x-protobuf"); got.Status != 200 {
		t.Errorf("after them: got %d %q", got.Status, got.Body)
	}
}

func TestOTLP_IsOffOnOtherListeners(t *testing.T) {
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t)})
	err := ingestkit.Dial(t, s.Addr()).Invoke(t.Context(), ingestkit.Export, ingestkit.Exported(), &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want UNIMPLEMENTED", err)
	}
}

func TestOTLP_OverHTTP(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	encoded, err := proto.Marshal(ingestkit.Exported())
	if err != nil {
		t.Fatal(err)
	}
	const kind = "Content-Type: application/x-protobuf"
	got := w.Do("POST", "/v1/logs", ingestkit.Compress(t, "gzip", string(encoded)), kind, "Content-Encoding: gzip")
	if got.Status != 200 || got.Body != "" || got.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("got %d %q %v", got.Status, got.Body, got.Header)
	}
	checkExported(t, log)
	if got := w.Do("POST", "/v1/logs", "{}", "Content-Type: text/plain"); got.Status != 415 {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := w.Do("POST", "/v1/logs", "\xff", kind); got.Status != 400 || got.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("got %d %q", got.Status, got.Body)
	}
}
