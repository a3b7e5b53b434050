package client_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
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

// BenchmarkNumbered has 32 callers that append one event of 200 bytes at a time. Those that number their events, as a
// Publisher does, and those that do not take turns. x-time and x-allocated compare the two, client and agent together.
func BenchmarkNumbered(b *testing.B) {
	const callers = 32
	c := dial(b, startAgent(b), client.Options{})
	var plain, numbered callersCost
	sequences := make([]uint64, callers)
	send := func(cost *callersCost, n int, producer bool) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() {
				for range (n + callers - 1) / callers {
					batch := client.Batch{Stream: "bench", Events: []client.Event{{Key: "sensor-17", Data: make([]byte, 200)}}}
					if producer {
						sequences[i]++
						batch.ProducerID, batch.Sequence = fmt.Sprintf("3f2b8c1e9a7d4560-%016d", i), sequences[i]
					}
					if _, err := c.AppendBatch(context.Background(), batch); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		cost.took += time.Since(began)
		runtime.ReadMemStats(&after)
		cost.allocated += after.TotalAlloc - before.TotalAlloc
	}
	const turn = 256 * callers // by then each producer has as many runs as the log keeps
	send(&plain, turn, false)
	send(&numbered, turn, true)
	plain, numbered = callersCost{}, callersCost{}
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		send(&plain, min(left, turn), false)
		send(&numbered, min(left, turn), true)
	}
	b.ReportMetric(float64(numbered.took)/float64(b.N), "numbered-ns/op")
	b.ReportMetric(float64(plain.took)/float64(b.N), "plain-ns/op")
	b.ReportMetric(float64(numbered.took)/float64(plain.took), "x-time")
	b.ReportMetric(float64(numbered.allocated)/float64(plain.allocated), "x-allocated")
}

// callersCost is what some appends of callers cost.
type callersCost struct {
	took      time.Duration
	allocated uint64
}
