package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// startAgent runs an agent in dir, with one listener of each type in it, on unix sockets.
func startAgent(t testing.TB, dir string) (*agent.Agent, *config.Config) {
	t.Helper()
	conf := config.Dev(dir)
	conf.Listeners[0].Network, conf.Listeners[0].Address, conf.Listeners[0].Mode = "unix", filepath.Join(dir, "grpc.sock"), 0o600
	conf.Admin = config.Admin{Network: "unix", Address: filepath.Join(dir, "admin.sock"), Mode: 0o600}
	conf.Streams[0].Format = "bytes"
	return run(t, conf), conf
}

func dial(t testing.TB, conf *config.Config) standpipev1.IngestClient {
	t.Helper()
	c, err := grpc.NewClient("unix://"+conf.Listeners[0].Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return standpipev1.NewIngestClient(c)
}

func request(key string, events int) *standpipev1.AppendRequest {
	r := &standpipev1.AppendRequest{Stream: "bench"}
	for range events {
		r.Events = append(r.Events, &standpipev1.Event{PartitionKey: key, Data: make([]byte, 1024)})
	}
	return r
}

// BenchmarkUnary is the whole agent: listener to synced ack, while a file destination ships.
func BenchmarkUnary(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		for _, events := range []int{1, 100} {
			b.Run(fmt.Sprintf("size=1KiB/callers=%d/events=%d", callers, events), func(b *testing.B) {
				benchmarkUnary(b, callers, events)
			})
		}
	}
}

func benchmarkUnary(b *testing.B, callers, events int) {
	_, conf := startAgent(b, b.TempDir())
	client := dial(b, conf)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.SetBytes(int64(events) * 1024)
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			r := request(fmt.Sprint("key", i), events)
			for left.Add(-1) >= 0 {
				if _, err := client.Append(context.Background(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkStream is BenchmarkUnary over one AppendStream; requests are pipelined.
func BenchmarkStream(b *testing.B) {
	for _, events := range []int{1, 100} {
		b.Run(fmt.Sprintf("size=1KiB/events=%d", events), func(b *testing.B) {
			benchmarkStream(b, events)
		})
	}
}

func benchmarkStream(b *testing.B, events int) {
	_, conf := startAgent(b, b.TempDir())
	stream, err := dial(b, conf).AppendStream(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(events) * 1024)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		r := request("key", events)
		for range b.N {
			if err := stream.Send(r); err != nil {
				return // the receiving side has the reason
			}
		}
		stream.CloseSend()
	}()
	acked := 0
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			b.Fatal(err)
		}
		acked++
	}
	b.StopTimer()
	if acked != b.N {
		b.Errorf("got %d acks, want %d", acked, b.N)
	}
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}
