package grpcin_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return proto.Unmarshal(data.Materialize(), v.(proto.Message))
}

func TestCodec_OtherEncodingsMeanTheSame(t *testing.T) {
	log := ingestkit.NewLog(t)
	server, _ := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	conn := ingestkit.Dial(t, server.Addr())
	tests := []struct {
		name, message string
		code          codes.Code
		text          string
	}{
		{"fields in another order", "\x12\x06\x12\x01a\x0a\x01k\x0a\x05bytes", codes.OK, ""},
		{"a field of later", "\x0a\x05bytes\x12\x09\x0a\x01k\x12\x01b\x3a\x01x", codes.OK, ""},
		{"data twice", "\x0a\x05bytes\x12\x09\x0a\x01k\x12\x01x\x12\x01c", codes.OK, ""},
		{"a request's field of later", "\x0a\x05bytes\x12\x06\x0a\x01k\x12\x01d\x3a\x01x", codes.OK, ""},
		{"a key that is no text", "\x0a\x05bytes\x12\x06\x0a\x01k\x12\x01x\x12\x06\x0a\x01\xff\x12\x01x", codes.InvalidArgument,
			"event 1: partition_key of 1 bytes is not valid UTF-8"},
		{"a stream that is no text", "\x0a\x05byt\xffs\x12\x06\x0a\x01k\x12\x01x", codes.InvalidArgument,
			"the request of 15 bytes is no valid encoding of AppendRequest: string field contains invalid UTF-8"},
		{"an event that is cut off", "\x0a\x05bytes\x12\x05\x0a\x01k\x12\x02", codes.InvalidArgument,
			"event 0: 5 bytes are no valid encoding of it: cannot parse invalid wire-format data"},
	}
	for _, test := range tests {
		var r standpipev1.AppendResponse
		err := conn.Invoke(t.Context(), standpipev1.Ingest_Append_FullMethodName, []byte(test.message), &r, grpc.ForceCodecV2(rawCodec{}))
		if got := status.Convert(err); got.Code() != test.code || got.Message() != test.text {
			t.Errorf("%s: got %v %q, want %v %q", test.name, got.Code(), got.Message(), test.code, test.text)
		}
	}
	var got string
	for _, data := range log.Stored() {
		got += data
	}
	if got != "abcd" {
		t.Errorf("stored %q, want abcd", got)
	}
}
