package client_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
)

// BenchmarkPublisher publishes events to a whole agent in the same process, whose destination discards,
// until they are synced. In turns with it the same events go over a bare AppendStream of the
// generated stubs, singly and a hundred a request, as fast as it takes them: x-singles and
// x-hundreds are the Publisher's rate as a multiple of those.
func BenchmarkPublisher(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(fmt.Sprintf("size=%dB", size), func(b *testing.B) { benchmarkPublisher(b, size) })
	}
}

// turn is how many events each gets at a time.
const turn = 50_000

func benchmarkPublisher(b *testing.B, size int) {
	target := startAgent(b)
	stubs := standpipev1.NewIngestClient(grpckit.Dial(b, target))
	p := dial(b, target, client.Options{}).Publisher("bench", client.PublisherOptions{})
	defer p.Close(context.Background())
	data := make([]byte, size)
	var published, singles, hundreds time.Duration
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for left := b.N; left > 0; left -= turn {
		n := min(left, turn)
		b.StartTimer()
		published += publishAll(b, p, data, n)
		b.StopTimer()
		singles += stream(b, stubs, data, n, 1)
		hundreds += stream(b, stubs, data, n, 100)
	}
	b.ReportMetric(float64(b.N)/published.Seconds(), "events/s")
	b.ReportMetric(float64(singles)/float64(published), "x-singles")
	b.ReportMetric(float64(hundreds)/float64(published), "x-hundreds")
}

func publishAll(b *testing.B, p *client.Publisher, data []byte, n int) time.Duration {
	began := time.Now()
	for range n {
		if _, err := p.Publish(context.Background(), client.Event{Key: "sensor-17", Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// stream sends n events over one AppendStream and returns when all are answered.
func stream(b *testing.B, stubs standpipev1.IngestClient, data []byte, n, events int) time.Duration {
	began := time.Now()
	wire, err := stubs.AppendStream(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	requests := (n + events - 1) / events
	go func() {
		m := &standpipev1.AppendRequest{Stream: "bench"}
		for range events {
			m.Events = append(m.Events, &standpipev1.Event{PartitionKey: "sensor-17", Data: data})
		}
		for range requests {
			if wire.Send(m) != nil {
				return
			}
		}
		wire.CloseSend()
	}()
	for range requests {
		if _, err := wire.Recv(); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	if _, err := wire.Recv(); err == nil {
		b.Fatal("an answer too many")
	}
	return took
}

// startAgent runs an agent whose one destination discards, and returns its address.
func startAgent(b *testing.B) string {
	dir, err := os.MkdirTemp("", "client") // a socket's path has to be short
	if err != nil {
		b.Fatal(err)
	}
	conf := config.Dev(dir)
	conf.Listeners = conf.Listeners[:1]
	conf.Listeners[0].Network, conf.Listeners[0].Address, conf.Listeners[0].Mode = "unix", filepath.Join(dir, "grpc.sock"), 0o600
	conf.Admin = config.Admin{Network: "unix", Address: filepath.Join(dir, "admin.sock"), Mode: 0o600}
	conf.Streams[0].Format = "bytes"
	conf.Streams[0].Destinations[0].Type = "discard"
	ctx, stop := context.WithCancel(context.Background())
	a, err := agent.New(ctx, conf, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		os.RemoveAll(dir)
	})
	return "unix://" + filepath.Join(dir, "grpc.sock")
}
