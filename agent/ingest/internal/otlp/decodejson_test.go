package otlp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// exportedJSON is the request of exported in JSON, in the ways in which programs write it.
var exportedJSON = map[string]string{
	"as the specification does": `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeLogs":[{"scope":{"name":"cart","version":"1.2"},"logRecords":[
		{"timeUnixNano":"5","severityNumber":9,"body":{"stringValue":"a \"b\"\n\u0001"},"traceId":"ab01","attributes":[
			{"key":"n","value":{"intValue":"-7"}},{"key":"d","value":{"doubleValue":0.5}},
			{"key":"b","value":{"bytesValue":"/w=="}},{"key":"f","value":{"boolValue":false}}]},
		{"observedTimeUnixNano":"6","attributes":[{"key":"service.name","value":{"stringValue":"own"}}]}]}]},
		{"scopeLogs":[{"logRecords":[{}]}]}]}`,
	"numbers, capitals, what is unknown and what is empty": "\ufeff" + `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],"droppedAttributesCount":0},
		"schemaUrl":"","scopeLogs":[{"scope":{"name":"cart","version":"1.2","attributes":[]},"logRecords":[
		{"timeUnixNano":5,"severityNumber":9,"traceId":"AB01","spanId":"","body":{"stringValue":"a \"b\"\n\u0001"},"attributes":[
			{"key":"n","value":{"intValue":-7}},{"key":"d","value":{"doubleValue":"0.5"}},
			{"key":"b","value":{"bytesValue":"_w"}},{"key":"f","value":{"boolValue":false,"later":[{"a":null}]}}],"eventLater":{"x":1}},
		{"timeUnixNano":"0","observedTimeUnixNano":6,"flags":0,"attributes":[{"key":"service.name","value":{"stringValue":"own"}}]}]}]},
		{"scopeLogs":[{"logRecords":[{"body":null}]}]}],"later":"{{{{"}`,
}

func TestOTLPJSON_MeansWhatProtobufDoes(t *testing.T) {
	for name, body := range exportedJSON {
		for _, kind := range []string{ingestkit.JSON, ingestkit.JSON + "; charset=utf-8", "Content-Type: Application/JSON"} {
			for _, coding := range []string{"", "gzip"} {
				log := ingestkit.NewLog(t)
				w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
				headers, sent := []string{kind}, body
				if coding != "" {
					headers, sent = append(headers, "Content-Encoding: "+coding), ingestkit.Compress(t, coding, body)
				}
				got := w.Do("POST", "/v1/logs", sent, headers...)
				if got.Status != 200 || got.Body != "{}" || got.Header.Get("Content-Type") != "application/json" {
					t.Fatalf("%s, %s: got %d %q %v", name, kind, got.Status, got.Body, got.Header)
				}
				checkExported(t, log)
			}
		}
	}
}

func TestOTLPJSON_KeepsNumbersAndIDs(t *testing.T) {
	const record = `{"timeUnixNano":"1700000000000000001","severityNumber":21,"body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"9007199254740993"}]}}}]}},` +
		`"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331"}`
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, OTLP: &ingest.OTLPOptions{Stream: "json"}})
	body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + record + `]}]}]}`
	if got := w.Do("POST", "/v1/logs", body, ingestkit.JSON); got.Status != 200 {
		t.Fatalf("got %d %s", got.Status, got.Body)
	}
	if got := log.Stored(); len(got) != 1 || got[0] != body || log.Events()[0].Time != 1700000000000000001 {
		t.Errorf("got  %s\nwant %s", got, body)
	}
	for _, empty := range []string{"{}", `{"resourceLogs":[]}`, ` {"resourceLogs":[{"scopeLogs":[]}]} `} {
		if got := w.Do("POST", "/v1/logs", empty, ingestkit.JSON); got.Status != 200 || got.Body != "{}" {
			t.Errorf("%s: got %d %s", empty, got.Status, got.Body)
		}
	}
}

func TestOTLPJSON_CountsWhatIsLeftOut(t *testing.T) {
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	record := func(name string) string {
		return `{"attributes":[{"key":"service.name","value":{"stringValue":"` + name + `"}}]}`
	}
	wrap := func(records ...string) string {
		return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Join(records, ",") + `]}]}]}`
	}
	long := record(strings.Repeat("x", 300))
	got := w.Do("POST", "/v1/logs", wrap(record("a"), long, long), ingestkit.JSON)
	const want = `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"event 1: partition_key has 300 characters; 1 to 256 are allowed"}}`
	if got.Status != 200 || got.Body != want || len(log.Stored()) != 1 {
		t.Errorf("got %d %s, want %s", got.Status, got.Body, want)
	}
	if got := w.Do("POST", "/v1/logs", wrap(long), ingestkit.JSON); got.Status != 400 || len(log.Stored()) != 1 {
		t.Errorf("all are left out: got %d %s", got.Status, got.Body)
	}
}

func TestOTLPJSON_Refusals(t *testing.T) {
	const secret = "s3cret"
	log := ingestkit.NewLog(t)
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: log, MaxRequestSize: 2 << 20, OTLP: &ingest.OTLPOptions{Stream: "bytes"}})
	record := func(fields string) string {
		return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{` + fields + `}]}]}]}`
	}
	for body, words := range map[string]string{
		"":                        "not valid JSON from byte 0 on",
		"{" + secret:              "not valid JSON from byte 1 on",
		"[]":                      "no ExportLogsServiceRequest in JSON",
		`"` + secret + `"`:        "no ExportLogsServiceRequest in JSON",
		record(`"traceId":"xyz"`): "traceId",
		record(`"traceId":"CvdlGRbNQ92EBOsR+AyBnA=="`):                    "traceId is not in hexadecimal",
		record(`"spanId":"b7ad6b71692033g1"`):                             "spanId is not in hexadecimal",
		record(`"traceId":"abc"`):                                         "traceId",
		record(`"timeUnixNano":"` + secret + `"`):                         "invalid value for fixed64 field timeUnixNano",
		record(`"timeUnixNano":-1`):                                       "invalid value for fixed64 field timeUnixNano",
		record(`"body":"` + secret + `"`):                                 "(line 1:",
		record(`"attributes":[` + strings.Repeat(`{},`, 600_000) + `{}]`): "more than 524288 records",
		strings.Repeat(`{"resourceLogs":[`, 20_000):                       "not valid JSON",
		record(`"body":{"arrayValue":` + strings.Repeat(`{"values":[{"arrayValue":`, 11_000) + "{}" + strings.Repeat(`}]}`, 11_000) + "}"): "",
	} {
		got := w.Do("POST", "/v1/logs", body, ingestkit.JSON)
		var answer struct {
			Code    int
			Message string
		}
		err := json.Unmarshal([]byte(got.Body), &answer)
		if got.Status < 400 || got.Status >= 429 || err != nil || answer.Code != int(codes.InvalidArgument) || !strings.Contains(answer.Message, words) {
			t.Errorf("%.60s: got %d %s, %v, want %q", body, got.Status, got.Body, err, words)
		}
		if strings.Contains(got.Body, secret) {
			t.Errorf("the answer repeats the body: %s", got.Body)
		}
	}
	if got := log.Stored(); len(got) != 0 {
		t.Errorf("stored %d", len(got))
	}
	log.Refuse = map[int]error{0: fmt.Errorf("disk")}
	got := w.Do("POST", "/v1/logs", record(""), ingestkit.JSON)
	if got.Status != 503 || got.Header.Get("Retry-After") == "" || !strings.Contains(got.Body, `"code":14`) || !strings.Contains(got.Body, "RetryInfo") {
		t.Errorf("a log that is out of order: got %d %s", got.Status, got.Body)
	}
}

// A request that is too large is rejected for good. Over gRPC the response is RESOURCE_EXHAUSTED without RetryInfo:
// gRPC itself sends it, and it is as final by the specification.
func TestOTLP_OverTheLimitIsFinal(t *testing.T) {
	o := ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t), MaxRequestSize: 1 << 10, OTLP: &ingest.OTLPOptions{Stream: "bytes"}}
	m := &logsv1.LogsData{ResourceLogs: []*logsv1.ResourceLogs{{SchemaUrl: strings.Repeat("x", 2<<10)}}}
	err := ingestkit.Dial(t, ingestkit.Serve(t, o).Addr()).Invoke(t.Context(), ingestkit.Export, m, &emptypb.Empty{})
	if got := status.Convert(err); got.Code() != codes.ResourceExhausted || ingestkit.RetryDelay(got) != 0 {
		t.Errorf("got %v", err)
	}
	w := ingestkit.ServeHTTP(t, o)
	for _, kind := range []string{ingestkit.JSON, "Content-Type: application/x-protobuf"} {
		got := w.Do("POST", "/v1/logs", strings.Repeat(" ", 2<<10), kind)
		if got.Status != 413 || got.Header.Get("Retry-After") != "" || !strings.Contains(got.Body, "max_request_size") {
			t.Errorf("%s: got %d %s", kind, got.Status, got.Body)
		}
	}
}

// Requests for other signals are rejected with the reason, and the agent log has one line for each signal of a listener.
func TestOTLP_TakesLogsAlone(t *testing.T) {
	var logged bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &logged})
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), OTLP: &ingest.OTLPOptions{Stream: "bytes"}, Logger: logger})
	for _, signal := range []string{"metrics", "traces"} {
		for _, kind := range []string{ingestkit.JSON, "Content-Type: application/x-protobuf"} {
			got := w.Do("POST", "/v1/"+signal, "{}", kind)
			if want := "OTLP " + signal + " are not taken here; logs are, at POST /v1/logs"; got.Status != 404 || got.Error != want {
				t.Errorf("%s: got %d %s, want %s", signal, got.Status, got.Body, want)
			}
		}
	}
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t), OTLP: &ingest.OTLPOptions{Stream: "bytes"}, Logger: logger})
	conn := ingestkit.Dial(t, s.Addr())
	for _, method := range []string{
		"/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
		"/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/opentelemetry.proto.collector.later.v1.LaterService/Export",
	} {
		err := conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{})
		if got := status.Convert(err); got.Code() != codes.Unimplemented || !strings.Contains(got.Message(), "OTLP logs are") {
			t.Errorf("%s: got %v", method, err)
		}
	}
	for _, signal := range []string{"metrics", "traces"} {
		if n := strings.Count(logged.String(), "signal="+signal+"\n"); n != 2 {
			t.Errorf("%s: got %d lines of the agent log, want one of each listener: %s", signal, n, &logged)
		}
	}
}
