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
	"github.com/standpipe/standpipe/test/fakeaws"
)

// toKinesis returns streams of one pattern with a Kinesis destination at endpoint, whose records have the events of one key or
// shard.
func toKinesis(endpoint, by string) ([]config.Stream, error) {
	conf, err := config.Parse(fmt.Appendf(nil, `
		data_dir = "/nowhere"
		stream "*" {
			format = "bytes"
			destination "kinesis" "local" {
				stream   = "$${stream}"
				region   = "eu-west-1"
				endpoint = %q
				aggregate_by = %q
			}
		}`, endpoint, by), "bench.hcl")
	if err != nil {
		return nil, err
	}
	return conf.Streams, nil
}

// BenchmarkStreams appends an event of 512 bytes at a time in turns at two agents with a Kinesis destination for each stream:
// one gets all events in one stream, the other in many. The stand-in for Kinesis runs in the load's process. x-one is the rate
// of the many streams as a part of that of the one, and cpu-x-one the same for the agent's processor time an event, its
// delivery included. A turn with a rate measures the processor time at that rate.
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
		p.server.awaitDelivery(b)
		p.took = nil
	}
	var took, usedCPU [2]time.Duration
	for left := b.N; left > 0; left -= turn {
		for i, p := range []*spreadProducers{toOne, toMany} {
			before := p.server.cpu(b)
			took[i] += p.run(b, min(left, turn), rate)
			p.server.awaitDelivery(b)
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
		p.add(b, m)
	}
	return p
}

func (p *spreadProducers) add(b *testing.B, m *standpipev1.AppendRequest) {
	request, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	p.requests = append(p.requests, request)
}

// BenchmarkSteady appends 4,000 events of 1 KiB a second, with 1,000 keys, for a Kinesis destination with one shard, and
// measures the processor time of the agent until all are delivered. The stand-in runs in the load's process. cpu-s is that of
// 30 s.
func BenchmarkSteady(b *testing.B) {
	for _, by := range []string{"key", "shard"} {
		b.Run("rate=4000/keys=1000/by="+by, func(b *testing.B) {
			const keys, rate = 1000, 4000
			aws := fakeaws.Start(b)
			aws.Forget()
			aws.SetShards(fakeaws.Shard{ID: "shardId-000000000000", First: "0"})
			s := startServer(b, "agent", "unix", kinesisEnv+"="+aws.URL(), byEnv+"="+by, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s")
			l := load{callers: 8, events: 40, size: kib}
			p := &spreadProducers{producers: newProducers(b, s, l), server: s}
			for first := 0; first < keys; first += l.events {
				m := l.request()
				for i, e := range m.Events {
					e.PartitionKey = fmt.Sprint("key-", first+i)
				}
				p.add(b, m)
			}
			p.run(b, len(p.requests), 0)
			s.awaitDelivery(b)
			requests, before := aws.Requests(), s.cpu(b)
			n := (b.N + l.events - 1) / l.events
			p.run(b, n, rate/l.events)
			s.awaitDelivery(b)
			used := (s.cpu(b) - before).Seconds() / float64(n*l.events)
			b.ReportMetric(used*1e6, "cpu-us/op")
			b.ReportMetric(used*rate*30, "cpu-s")
			b.ReportMetric(float64(aws.Requests()-requests)/float64(n*l.events)*rate, "requests/s")
		})
	}
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
