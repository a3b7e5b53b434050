package ingest_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// BenchmarkAppend compares the listener on a log that costs nothing and on the log itself with
// bare gRPC: events of 1 KiB, the producer in the same process.
func BenchmarkAppend(b *testing.B) {
	for _, how := range []string{"bare", "discard", "wal"} {
		for _, events := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/unary/events=%d", how, events), func(b *testing.B) {
				benchUnary(b, benchClient(b, how), events)
			})
			b.Run(fmt.Sprintf("%s/stream/events=%d", how, events), func(b *testing.B) {
				benchStream(b, benchClient(b, how), events)
			})
		}
	}
}

func benchClient(b *testing.B, how string) standpipev1.IngestClient {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if how == "bare" {
		s := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
		standpipev1.RegisterIngestServer(s, bare{})
		go s.Serve(l)
		b.Cleanup(s.Stop)
	} else {
		serveBench(b, how, l)
	}
	return standpipev1.NewIngestClient(grpckit.Dial(b, grpckit.Target(l.Addr())))
}

func serveBench(b *testing.B, how string, l net.Listener) {
	b.Helper()
	var log ingest.Log = &ingestkit.Discard{}
	if how == "wal" {
		log = ingest.FromWAL(testkit.OpenLog(b, wal.Options{OnFull: wal.DropOldest}))
	}
	s, err := ingest.New(ingest.Options{Type: ingest.GRPC, Listener: l, Log: log, Streams: ingestkit.TestStreams})
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(context.Background())
	b.Cleanup(func() { s.Stop(context.Background()) })
}

func benchRequest(events int) *standpipev1.AppendRequest {
	data := `{"text":"` + strings.Repeat("lorem ipsum ", 84) + `"}`
	m := &standpipev1.AppendRequest{Stream: "bench"}
	for i := range events {
		m.Events = append(m.Events, ingestkit.Event(fmt.Sprint("key ", i%16), data))
	}
	return m
}

func benchUnary(b *testing.B, client standpipev1.IngestClient, events int) {
	m := benchRequest(events)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.Append(context.Background(), m); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}

func benchStream(b *testing.B, client standpipev1.IngestClient, events int) {
	m := benchRequest(events)
	s, err := client.AppendStream(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			if s.Send(m) != nil {
				return
			}
		}
		s.CloseSend()
	}()
	for range b.N {
		if _, err := s.Recv(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}
