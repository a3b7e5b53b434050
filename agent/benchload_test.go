//go:build linux

package agent_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
)

// encoded is a request as it goes over the wire.
type encoded []byte

// encodedCodec sends encoded messages unchanged.
type encodedCodec struct{ encoding.CodecV2 }

func (c encodedCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// producers send the same request again and again: over one connection of gRPC, or over one each of HTTP.
type producers struct {
	load  load
	conn  *grpc.ClientConn
	bytes encoded           // the request of gRPC
	wire  grpc.ClientStream // of a stream
	sent  chan time.Time    // of the stream's requests that wait
	posts []*poster         // of HTTP
	mu    sync.Mutex
	took  []time.Duration // by each request; guarded by mu
}

func newProducers(b *testing.B, s *server, l load) *producers {
	b.Helper()
	if l.http {
		return &producers{load: l, posts: newPosters(b, s, l)}
	}
	conn := grpckit.Dial(b, s.target, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(encodedCodec{encoding.GetCodecV2(protocodec.Name)})))
	request, err := proto.Marshal(l.request())
	if err != nil {
		b.Fatal(err)
	}
	p := &producers{load: l, conn: conn, bytes: request}
	if l.callers > 0 {
		return p
	}
	p.sent = make(chan time.Time, l.window)
	desc := &standpipev1.Ingest_ServiceDesc.Streams[0]
	if p.wire, err = conn.NewStream(context.Background(), desc, standpipev1.Ingest_AppendStream_FullMethodName); err != nil {
		b.Fatal(err)
	}
	return p
}

// run sends n requests and returns how long it took until all were answered.
func (p *producers) run(b *testing.B, n int) time.Duration {
	b.Helper()
	start := time.Now()
	switch {
	case p.wire != nil:
		p.stream(b, n)
	case p.posts != nil:
		p.call(b, n, func(caller int) func() error { return p.posts[caller].send })
	default:
		p.call(b, n, p.unary)
	}
	return time.Since(start)
}

func (p *producers) unary(int) func() error {
	return func() error {
		return p.conn.Invoke(context.Background(), standpipev1.Ingest_Append_FullMethodName, p.bytes, new(standpipev1.AppendResponse))
	}
}

// call sends n requests. Each caller uses its own result of sender.
func (p *producers) call(b *testing.B, n int, sender func(caller int) func() error) {
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	for caller := range p.load.callers {
		group.Go(func() {
			send := sender(caller)
			var took []time.Duration
			for left.Add(-1) >= 0 {
				start := time.Now()
				if err := send(); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(start))
			}
			p.mu.Lock()
			p.took = append(p.took, took...)
			p.mu.Unlock()
		})
	}
	group.Wait()
}

func (p *producers) stream(b *testing.B, n int) {
	go func() {
		for range n {
			p.sent <- time.Now()
			if p.wire.SendMsg(p.bytes) != nil {
				return // the receiving side has the reason
			}
		}
	}()
	for range n {
		if err := p.wire.RecvMsg(new(standpipev1.AppendResponse)); err != nil {
			b.Fatal(err)
		}
		p.took = append(p.took, time.Since(<-p.sent))
	}
}

// durations are many, in short.
type durations struct{ sum, p50, p99, p999 time.Duration }

func spread(took []time.Duration) (d durations) {
	slices.Sort(took)
	for _, t := range took {
		d.sum += t
	}
	if last := len(took) - 1; last >= 0 {
		d.p50, d.p99, d.p999 = took[last/2], took[last*99/100], took[last*999/1000]
	}
	return d
}

// ownCPU returns the processor time that this process has taken.
func ownCPU() time.Duration {
	var used unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
