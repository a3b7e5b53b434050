package agent_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// producers send the same request again and again: over one connection of gRPC, or over one each of HTTP.
type producers struct {
	load   load
	client standpipev1.IngestClient
	wire   standpipev1.Ingest_AppendStreamClient // of a stream
	sent   chan time.Time                        // of the stream's requests that wait
	posts  []*poster                             // of HTTP
	mu     sync.Mutex
	took   []time.Duration // by each request; guarded by mu
}

func newProducers(b *testing.B, s *server, l load) *producers {
	b.Helper()
	if l.http {
		return &producers{load: l, posts: newPosters(b, s, l)}
	}
	conn, err := grpc.NewClient(s.target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	p := &producers{load: l, client: standpipev1.NewIngestClient(conn)}
	if l.callers > 0 {
		return p
	}
	p.sent = make(chan time.Time, l.window)
	if p.wire, err = p.client.AppendStream(context.Background()); err != nil {
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
	r := p.load.request()
	return func() error {
		_, err := p.client.Append(context.Background(), r)
		return err
	}
}

// call sends n requests, each caller by what sender returns for it.
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
		r := p.load.request()
		for range n {
			p.sent <- time.Now()
			if p.wire.Send(r) != nil {
				return // the receiving side has the reason
			}
		}
	}()
	for range n {
		if _, err := p.wire.Recv(); err != nil {
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
