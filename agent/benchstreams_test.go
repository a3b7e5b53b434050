//go:build linux

package agent_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/config"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// toKinesis returns streams of one pattern with a Kinesis destination at endpoint.
func toKinesis(endpoint string) ([]config.Stream, error) {
	conf, err := config.Parse(fmt.Appendf(nil, `
		data_dir = "/nowhere"
		stream "*" {
			format = "bytes"
			destination "kinesis" "local" {
				stream   = "$${stream}"
				region   = "eu-west-1"
				endpoint = %q
			}
		}`, endpoint), "bench.hcl")
	if err != nil {
		return nil, err
	}
	return conf.Streams, nil
}

// BenchmarkStreams appends an event of 512 bytes at a time in turns at two agents with a Kinesis destination for each stream:
// one gets all events in one stream, the other in many. The stand-in for Kinesis runs in the load's process. x-one is the rate
// of the many streams as a part of that of the one, and cpu-x-one the same for the agent's processor time an event. A turn
// with a rate measures the processor time at that rate.
func BenchmarkStreams(b *testing.B) {
	for _, rate := range []int{0, 4000} {
		for _, streams := range []int{1000} {
			b.Run(fmt.Sprintf("callers=64/rate=%d/streams=%d", rate, streams), func(b *testing.B) { benchmarkStreams(b, rate, streams) })
		}
	}
}

func benchmarkStreams(b *testing.B, rate, streams int) {
	const turn = 16384
	aws := fakeaws.Start(b)
	aws.Forget()
	environment := []string{kinesisEnv + "=" + aws.URL(), "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s"}
	one, many := startServer(b, "agent", "unix", environment...), startServer(b, "agent", "unix", environment...)
	toOne, toMany := newSpread(b, one, 1), newSpread(b, many, streams)
	for _, p := range []*spreadProducers{toOne, toMany} { // makes the streams
		p.run(b, streams, 0)
		p.took = nil
	}
	var took, usedCPU [2]time.Duration
	for left := b.N; left > 0; left -= turn {
		for i, p := range []*spreadProducers{toOne, toMany} {
			time.Sleep(2 * shipper.DefaultMaxDelay) // until the other's events are delivered
			before := p.server.cpu(b)
			took[i] += p.run(b, min(left, turn), rate)
			usedCPU[i] += p.server.cpu(b) - before
		}
	}
	latency := spread(toMany.took)
	b.ReportMetric(float64(b.N)/took[1].Seconds(), "events/s")
	b.ReportMetric(float64(took[0])/float64(took[1]), "x-one")
	b.ReportMetric(float64(usedCPU[1].Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(usedCPU[1])/float64(usedCPU[0]), "cpu-x-one")
	b.ReportMetric(float64(latency.p50.Microseconds()), "p50-us")
	b.ReportMetric(float64(latency.p99)/float64(latency.p50), "p99-x-p50")
	b.ReportMetric(many.peak(b), "RssAnon-MB")
}

// spreadProducers append events to many streams in turn.
type spreadProducers struct {
	*producers
	server   *server
	requests []encoded // to each stream
	next     atomic.Int64
}

func newSpread(b *testing.B, s *server, streams int) *spreadProducers {
	l := load{callers: 64, events: 1, size: 512}
	p := &spreadProducers{producers: newProducers(b, s, l), server: s}
	for i := range streams {
		m := l.request()
		m.Stream = fmt.Sprint("bench-", i)
		request, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		p.requests = append(p.requests, request)
	}
	return p
}

// run sends n requests, with a rate so many a second, and returns how long it took until all were answered.
func (p *spreadProducers) run(b *testing.B, n, rate int) time.Duration {
	start, first := time.Now(), p.next.Load()
	p.call(b, n, func(int) func() error {
		return func() error {
			i := p.next.Add(1) - 1
			if rate > 0 {
				time.Sleep(time.Until(start.Add(time.Duration(i-first) * time.Second / time.Duration(rate))))
			}
			request := p.requests[i%int64(len(p.requests))]
			return p.conn.Invoke(context.Background(), standpipev1.Ingest_Append_FullMethodName, request, new(standpipev1.AppendResponse))
		}
	})
	return time.Since(start)
}
