package grpcin

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// codec passes the bytes of an AppendRequest through unchanged, and encodes an AppendResponse itself. The codec of gRPC
// handles all other messages, of health and reflection.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// wireRequest is an undecoded AppendRequest. Its receiver frees it.
type wireRequest struct{ mem.BufferSlice }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*wireRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	data.Ref()
	r.BufferSlice = data
	return nil
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*intake.Response)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.SliceBuffer(appendResponse(make([]byte, 0, responseRoom), r))}, nil
}

// responseRoom is the size of the longest AppendResponse.
const responseRoom = 4 + 10 + 5 + 1 + 1

// appendResponse appends r as an AppendResponse.
func appendResponse(b []byte, r *intake.Response) []byte {
	b = appendNumber(b, 1, r.FirstOffset)
	b = appendNumber(b, 2, uint64(r.Count))
	b = appendNumber(b, 3, uint64(r.Ack))
	if r.Duplicate {
		b = appendNumber(b, 4, 1)
	}
	return b
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

// ingestDesc is standpipe.v1.Ingest with requests that are not decoded.
func ingestDesc() *grpc.ServiceDesc {
	desc := standpipev1.Ingest_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "Append", Handler: handleAppend}}
	desc.Streams = []grpc.StreamDesc{{
		StreamName: "AppendStream", Handler: handleAppendStream, ServerStreams: true, ClientStreams: true,
	}}
	return &desc
}

func handleAppend(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	w := new(wireRequest)
	if err := decode(w); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, _ any) (any, error) { return srv.(*service).Append(ctx, w) }
	if intercept == nil {
		return handle(ctx, w)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: standpipev1.Ingest_Append_FullMethodName}
	return intercept(ctx, w, info, handle)
}

func handleAppendStream(srv any, wire grpc.ServerStream) error {
	return srv.(*service).AppendStream(wire)
}
