package intake_test

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
)

func TestRejections(t *testing.T) {
	const secret = "s3cret"
	with := func(change func(m *standpipev1.AppendRequest)) *standpipev1.AppendRequest {
		m := ingestkit.Request("bytes", "a", "b")
		change(m)
		return m
	}
	tests := []struct {
		name   string
		m      *standpipev1.AppendRequest
		code   codes.Code
		text   string
		reason string
	}{
		{"no stream", ingestkit.Request("", "a"), codes.InvalidArgument, "the name of the stream is missing", "/no_stream"},
		{"unknown stream", ingestkit.Request("nope", "a"), codes.NotFound, `stream "nope": no stream block matches`, "/no_stream"},
		{"long unknown stream", ingestkit.Request(strings.Repeat("x", 5000), "a"), codes.NotFound, "no stream block matches a name of 5000 bytes", "/no_stream"},
		{"stream that can't open", ingestkit.Request("opening", "a"), codes.Unavailable, `stream "opening": open destination: no such folder: nothing was stored`, "/unavailable"},
		{"no events", ingestkit.Request("bytes"), codes.InvalidArgument, "the batch has 0 events; at least 1 is needed", ""},
		{"no key", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{ingestkit.Event("k", "x"), ingestkit.Event("", "x")}}, codes.InvalidArgument, "event 1: partition_key has 0 characters; 1 to 256 are allowed", "bytes/invalid"},
		{"no event at all", with(func(m *standpipev1.AppendRequest) { m.Events[1] = &standpipev1.Event{} }), codes.InvalidArgument, "event 1: partition_key has 0 characters; 1 to 256 are allowed", "bytes/invalid"},
		{"long key", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{ingestkit.Event(strings.Repeat("é", 257), "x")}}, codes.InvalidArgument, "event 0: partition_key has 257 characters; 1 to 256 are allowed", "bytes/invalid"},
		{"long key beyond 16 bits", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{ingestkit.Event(strings.Repeat("😀", 257), "x")}}, codes.InvalidArgument, "event 0: partition_key has 257 characters; 1 to 256 are allowed", "bytes/invalid"},
		{"large", ingestkit.Request("text", "x", "y", strings.Repeat("x", 1001)), codes.InvalidArgument, "event 2: data has 1001 bytes; max_event_size allows 1000", "text/too_large"},
		{"no room", ingestkit.Request("roomy", strings.Repeat("x", 100)), codes.InvalidArgument, `event 0: data has 100 bytes; under a partition_key of 1 bytes destination kinesis "live" takes 99`, "roomy/too_large"},
		{"no JSON", ingestkit.Request("json", `{}`, `{"`+secret+`":}`), codes.InvalidArgument, "event 1: data of 11 bytes is not valid JSON from byte 10 on; the stream's format is json", "json/format"},
		{"empty JSON", ingestkit.Request("json", ""), codes.InvalidArgument, "event 0: data of 0 bytes is not valid JSON from byte 0 on; the stream's format is json", "json/format"},
		{"two JSON values", ingestkit.Request("json", "1 2"), codes.InvalidArgument, "event 0: data of 3 bytes is not valid JSON from byte 2 on; the stream's format is json", "json/format"},
		{"JSON that is not UTF-8", ingestkit.Request("json", "\"\xff\""), codes.InvalidArgument, "event 0: data of 3 bytes is not valid UTF-8; the stream's format is json", "json/format"},
		{"JSON on two lines", ingestkit.Request("json", "{\n}"), codes.InvalidArgument, "event 0: data of 3 bytes has a line break at byte 1; the stream's format json takes one line", "json/format"},
		{"JSON with a newline at its end", ingestkit.Request("json", "{}\n"), codes.InvalidArgument, "event 0: data of 3 bytes has a line break at byte 2; the stream's format json takes one line", "json/format"},
		{"text with a line feed", ingestkit.Request("text", "ab\n"), codes.InvalidArgument, "event 0: data of 3 bytes has a line break at byte 2; the stream's format text takes one line", "text/format"},
		{"text with a carriage return before it", ingestkit.Request("text", "a\r\n"), codes.InvalidArgument, "event 0: data of 3 bytes has a line break at byte 1; the stream's format text takes one line", "text/format"},
		{"unknown ack", with(func(m *standpipev1.AppendRequest) { m.Ack = 9 }), codes.InvalidArgument, "ack 9 is unknown; 0 (the stream's default), 1 (accepted), 2 (durable) and 3 (delivered) are allowed", "bytes/invalid"},
		{"negative ack", with(func(m *standpipev1.AppendRequest) { m.Ack = -1 }), codes.InvalidArgument, "ack -1 is unknown; 0 (the stream's default), 1 (accepted), 2 (durable) and 3 (delivered) are allowed", "bytes/invalid"},
		{"sequence alone", with(func(m *standpipev1.AppendRequest) { m.ProducerSequence = 7 }), codes.InvalidArgument, "producer_sequence 7 comes without a producer_id; both or neither are allowed", "bytes/invalid"},
		{"producer alone", with(func(m *standpipev1.AppendRequest) { m.ProducerId = "p" }), codes.InvalidArgument, "producer_id comes without a producer_sequence; sequences start at 1", "bytes/invalid"},
		{"long producer", with(func(m *standpipev1.AppendRequest) { m.ProducerId, m.ProducerSequence = strings.Repeat("é", 65), 1 }), codes.InvalidArgument, "producer_id has 130 bytes; at most 128 are allowed", "bytes/invalid"},
		{"low next", with(func(m *standpipev1.AppendRequest) { m.ProducerId, m.ProducerSequence, m.ProducerNext = "p", 7, 8 }), codes.InvalidArgument, "producer_next 8 is too low for 2 events from producer_sequence 7; at least 9 is allowed", "bytes/invalid"},
		{"high sequence", with(func(m *standpipev1.AppendRequest) { m.ProducerId, m.ProducerSequence = "p", math.MaxUint64-1 }), codes.InvalidArgument, "producer_sequence 18446744073709551614 is too high for 2 events; at most 18446744073709551613 is allowed", "bytes/invalid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
			_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Observer: seen})
			_, err := client.Append(t.Context(), test.m)
			got := status.Convert(err)
			if got.Code() != test.code || got.Message() != test.text {
				t.Errorf("got %v %q, want %v %q", got.Code(), got.Message(), test.code, test.text)
			}
			if strings.Contains(got.Message(), secret) {
				t.Errorf("the text repeats the payload: %q", got.Message())
			}
			if stored := log.Stored(); len(stored) != 0 {
				t.Errorf("stored %q of a batch that was refused", stored)
			}
			if _, refused := seen.Get(); test.reason != "" && refused[test.reason] != len(test.m.Events) {
				t.Errorf("counted %v, want %d under %q", refused, len(test.m.Events), test.reason)
			}
		})
	}
}

// A client program need not take the text apart.
func TestRejections_HaveReasonAndIndex(t *testing.T) {
	for _, test := range []struct {
		m             *standpipev1.AppendRequest
		reason, index string
	}{
		{ingestkit.Request("nope", "a"), "NO_STREAM", ""},
		{ingestkit.Request("bytes"), "INVALID", ""},
		{ingestkit.Request("text", "x", "y", strings.Repeat("x", 1001)), "TOO_LARGE", "2"},
		{ingestkit.Request("json", "{"), "FORMAT", "0"},
	} {
		_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t)})
		_, err := client.Append(t.Context(), test.m)
		details := status.Convert(err).Details()
		if len(details) != 1 {
			t.Fatalf("%v: got details %v, want one", err, details)
		}
		info, ok := details[0].(*errdetails.ErrorInfo)
		if !ok || info.Domain != "standpipe" || info.Reason != test.reason || info.Metadata["event"] != test.index {
			t.Errorf("%v: got %v, want reason %s, event %q", err, details[0], test.reason, test.index)
		}
	}
}

func TestChecks_AcceptedRequests(t *testing.T) {
	tests := []struct {
		name string
		m    *standpipev1.AppendRequest
	}{
		{"a key of 256 characters beyond 16 bits", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{ingestkit.Event(strings.Repeat("😀", 256), "x")}}},
		{"a key of 256 characters", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{ingestkit.Event(strings.Repeat("é", 256), "x")}}},
		{"no data", ingestkit.Request("bytes", "")},
		{"no text", ingestkit.Request("text", "")},
		{"any bytes", ingestkit.Request("bytes", "\x00\n\r\xff")},
		{"text that is no UTF-8", ingestkit.Request("text", "\xff\x00")},
		{"data of the greatest size", ingestkit.Request("text", strings.Repeat("x", 1000))},
		{"data that just has room", ingestkit.Request("roomy", strings.Repeat("x", 99))},
		{"JSON of every kind", ingestkit.Request("json", "{}", "[1, 2]", `"a\n"`, "1.50", "true", "null", " 1\t")},
		{"a negative time", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{{PartitionKey: "k", TimeUnixNano: -5}}}},
		{"a producer of 128 bytes", &standpipev1.AppendRequest{Stream: "bytes", Events: []*standpipev1.Event{ingestkit.Event("k", "x")}, ProducerId: strings.Repeat("p", 128), ProducerSequence: math.MaxUint64 - 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := ingestkit.NewLog(t)
			_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
			r, err := client.Append(t.Context(), test.m)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := r.Count, uint32(len(test.m.Events)); got != want {
				t.Errorf("count %d, want %d", got, want)
			}
			for i, got := range log.Events() {
				if want := test.m.Events[i]; string(got.Data) != string(want.Data) || got.Key != want.PartitionKey {
					t.Errorf("event %d: stored %q under %q", i, got.Data, got.Key)
				}
			}
		})
	}
}
