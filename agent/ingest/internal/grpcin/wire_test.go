package grpcin_test

import (
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// encoded is a message whose encoding is b.
func encoded(b string) *emptypb.Empty {
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown([]byte(b))
	return m
}

func bytesField(field byte, content string) string {
	n := len(content)
	return string([]byte{field<<3 | 2, byte(n) | 0x80, byte(n>>7) | 0x80, byte(n >> 14 & 0x7f)}) + content
}

// TestGRPC_TinyEventsAndAttributesAreBounded: two bytes of a request would become a hundred in memory.
func TestGRPC_TinyEventsAndAttributesAreBounded(t *testing.T) {
	log := ingestkit.NewLog(t)
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	conn := ingestkit.Dial(t, server.Addr())
	const unknown = "\x32\x00"
	half := strings.Repeat("\x22\x00", 300_000) // attributes without name and value
	plain := strings.Repeat("\x22\x04\x0a\x00\x12\x00", 300_000)
	for name, c := range map[string]struct{ message, want string }{
		"events":                {strings.Repeat("\x12\x00", 300_000), "the request has 300000 events; 262144 are allowed"},
		"events as many as fit": {strings.Repeat("\x12\x00", 8<<20-100), "the request has 8388508 events; 262144 are allowed"},
		"attributes":            {bytesField(2, half+half+unknown), "the request has 600000 events and attributes; 524288 are allowed"},
		"attributes of a request with an unknown field": {
			bytesField(2, plain) + bytesField(2, plain) + unknown, "the request has 600002 events and attributes; 524288 are allowed",
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := conn.Invoke(t.Context(), standpipev1.Ingest_Append_FullMethodName, encoded(c.message), &emptypb.Empty{})
		runtime.ReadMemStats(&after)
		if got := status.Convert(err); got.Code() != codes.InvalidArgument || got.Message() != c.want {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 128<<20 { // in producer and agent
			t.Errorf("%s: %d MiB are allocated for %d", name, got>>20, len(c.message)>>20)
		}
	}
	// None of it is left in a budget.
	if _, err := client.Append(t.Context(), ingestkit.Request("bytes", strings.Repeat("x", 15<<20))); err != nil {
		t.Error(err)
	}
	if got := len(log.Stored()); got != 1 {
		t.Errorf("%d batches are stored, want 1", got)
	}
}
