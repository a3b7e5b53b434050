package h2guard

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

// checkedVersions are the versions whose framing was compared with the assumptions in the package comment.
var checkedVersions = map[string]string{
	"google.golang.org/grpc": "v1.85.", // a patch release is taken as it is
	"golang.org/x/net":       "v0.61.",
}

// TestCanary_Versions fails with a new minor version of gRPC-go or x/net. Read the changes of grpc/internal/transport
// (readDataFrame, handleRSTStream, readyreader), grpc/mem and x/net/http2, run the tests of this package and of
// agent/ingest, and then enter the new version.
func TestCanary_Versions(t *testing.T) {
	modules, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for path, checked := range checkedVersions {
		_, rest, found := strings.Cut(string(modules), "\t"+path+" ")
		version, _, _ := strings.Cut(rest, "\n")
		if !found || !strings.HasPrefix(version, checked) {
			t.Errorf("%s is %q; the assumptions of h2guard were checked with %sx", path, version, checked)
		}
	}
}

// TestCanary_BuffersOfGRPC: the cost of a data frame is at least the size of the buffer that gRPC reads it into.
func TestCanary_BuffersOfGRPC(t *testing.T) {
	pool := mem.DefaultBufferPool()
	for _, length := range []int{1, 255, 1 << 10, 1<<10 + 1, 4 << 10, 4<<10 + 1, 16 << 10} {
		size := length
		if !mem.IsBelowBufferPoolingThreshold(length) {
			b := pool.Get(length)
			size = cap(*b)
			pool.Put(b)
		}
		var d dataScan
		d.begin(&frame{length: length})
		if d.cost < int64(size) || d.cost > int64(size)+frameCost {
			t.Errorf("a frame of %d bytes costs %d; gRPC's buffer has %d", length, d.cost, size)
		}
	}
}

// TestCanary_FramesOfXNet: the reader of x/net takes the frames of a rejection, and its header table stays as it is.
func TestCanary_FramesOfXNet(t *testing.T) {
	var table bytes.Buffer
	indexed := hpack.NewEncoder(&table)
	indexed.WriteField(hpack.HeaderField{Name: "x-before", Value: "1"}) // the table's first entry
	b := appendFrameHead(nil, frame{length: table.Len(), kind: http2.FrameHeaders, flags: http2.FlagHeadersEndHeaders, stream: 1})
	b = append(b, table.Bytes()...)
	long := strings.Repeat("x", 300)
	b = appendTrailers(b, 3, status.New(codes.Unavailable, long), false)
	b = appendTrailers(b, 5, status.New(codes.Unavailable, "short"), true)
	b = appendRST(b, 5, http2.ErrCodeNo)
	table.Reset()
	indexed.WriteField(hpack.HeaderField{Name: "x-before", Value: "1"}) // an index into the table
	b = append(appendFrameHead(b, frame{length: table.Len(), kind: http2.FrameHeaders, flags: http2.FlagHeadersEndHeaders, stream: 7}), table.Bytes()...)

	framer := http2.NewFramer(io.Discard, bytes.NewReader(b))
	framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	read := func(stream uint32) *http2.MetaHeadersFrame {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		h, ok := f.(*http2.MetaHeadersFrame)
		if !ok || h.StreamID != stream {
			t.Fatalf("got %v, want headers of stream %d", f, stream)
		}
		return h
	}
	read(1)
	for _, want := range []struct {
		stream  uint32
		status  string
		message string
	}{{3, "200", long}, {5, "", "short"}} {
		h := read(want.stream)
		fields := make(map[string]string)
		for _, f := range h.Fields {
			fields[f.Name] = f.Value
		}
		if !h.StreamEnded() || fields[":status"] != want.status || fields["grpc-status"] != "14" || fields["grpc-message"] != want.message {
			t.Errorf("stream %d: got %v, ended %v", want.stream, fields, h.StreamEnded())
		}
	}
	f, err := framer.ReadFrame()
	if r, ok := f.(*http2.RSTStreamFrame); err != nil || !ok || r.StreamID != 5 || r.ErrCode != http2.ErrCodeNo {
		t.Errorf("got %v, %v, want the reset of stream 5", f, err)
	}
	if h := read(7); len(h.Fields) != 1 || h.Fields[0].Name != "x-before" {
		t.Errorf("the header table has changed: got %v", h.Fields)
	}
}

// canaryCredentials count the reads of gRPC by ReadOnReady.
type canaryCredentials struct {
	credentials.TransportCredentials
	readsOnReady atomic.Int64
}

func (c *canaryCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return &canaryConn{conn.(*inflowConn), c}, info, nil
}

type canaryConn struct {
	*inflowConn
	of *canaryCredentials
}

func (c *canaryConn) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	c.of.readsOnReady.Add(1)
	return c.inflowConn.ReadOnReady(size, pool)
}

// TestCanary_RejectionInGRPC: a request that is rejected half-way ends in the server with a cancellation and in the client with
// the status of the guard, and another request of the connection goes on. The server reads with ReadOnReady.
func TestCanary_RejectionInGRPC(t *testing.T) {
	l := &testListener{bytes: budget.New(testRoom)}
	counted := &canaryCredentials{TransportCredentials: New(l, Limits{MaxMessage: 16 << 20, MaxStreams: 8}).Credentials(insecure.NewCredentials())}
	ended := make(chan error, 1) // of the rejected request's handler
	server := grpc.NewServer(grpc.Creds(counted), grpc.MaxRecvMsgSize(16<<20), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		for {
			m := new(wrapperspb.BytesValue)
			if err := s.RecvMsg(m); err != nil {
				if err == io.EOF {
					return nil
				}
				<-s.Context().Done()
				ended <- s.Context().Err()
				return err
			}
			if err := s.SendMsg(m); err != nil {
				return err
			}
		}
	}))
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listen)
	defer server.Stop()
	conn, err := grpc.NewClient(listen.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(encoding.GetCodecV2(proto.Name)), grpc.MaxCallSendMsgSize(32<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	open := func() grpc.ClientStream {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/canary/Echo")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	echo := func(s grpc.ClientStream, size int) error {
		s.SendMsg(wrapperspb.Bytes(make([]byte, size))) // its error is in RecvMsg
		return s.RecvMsg(new(wrapperspb.BytesValue))
	}
	steady, rejected := open(), open()
	for _, s := range []grpc.ClientStream{steady, rejected} {
		if err := echo(s, 100); err != nil {
			t.Fatal(err)
		}
	}
	if got := status.Convert(echo(rejected, 2*testRoom)); got.Code() != codes.Unavailable || got.Message() != "no room" {
		t.Errorf("got %v, want the status of the guard", got)
	}
	if err := <-ended; err != context.Canceled {
		t.Errorf("the handler's context ended with %v, want a cancellation", err)
	}
	if err := echo(steady, 100<<10); err != nil {
		t.Errorf("another request of the connection: %v", err)
	}
	if counted.readsOnReady.Load() == 0 {
		t.Error("gRPC reads without ReadOnReady: each silent connection keeps a buffer")
	}
}
