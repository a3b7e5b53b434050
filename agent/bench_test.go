//go:build linux

package agent_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/floor"
)

// The whole agent, from its listener to the synced ack, with a destination that discards. Agent and load
// are two processes on the same cores, as in life, and in turns with the agent the same load meets its floors:
//
//	E  a bare grpc-go server, or net/http, that answers the same requests at once
//	B  bbolt alone, that stores the same bytes in as many commits
//
// The load uses the same cores as the servers, so it encodes its requests once and sends them as bytes. cpu-us/op is the agent's processor time, load-cpu-us/op the load's.
//
// L = 1/(1/E + 1/B) is the rate that both together allow on shared cores, and x-L and x-E are the agent's rate
// as a part of them. For one caller p50-x-floor is the agent's median divided by the sum of E's and B's. Over gRPC
// p50-x-inline is the agent's median divided by that of a bare server whose handler commits with bbolt before it responds.
// The two in sequence take longer than each alone, since the processors sleep while they wait for the disk or the producer. RssAnon-MB is the most anonymous memory that the agent had.
//
// STANDPIPE_BENCH_PROFILE=FILE makes the agent write its CPU profile there.

const (
	floorBlock = 8148 // half a leaf
	// frameRest is the size of an event in the log without its data: lane, length, key, tags, time.
	frameRest = 32
)

// A load is the concurrent work of producers.
type load struct {
	http    bool
	early   bool // the posts ask for the ack accepted, which comes before the sync
	callers int  // of Append, or connections that post; 0: AppendStream
	window  int  // of AppendStream: requests that wait for their reply
	events  int  // of a request
	size    int  // bytes of an event's data
}

func (l load) String() string {
	who := fmt.Sprintf("unary/callers=%d", l.callers)
	switch {
	case l.early:
		who = fmt.Sprintf("post/ack=accepted/callers=%d", l.callers)
	case l.http:
		who = fmt.Sprintf("post/callers=%d", l.callers)
	case l.callers == 0:
		who = fmt.Sprintf("stream/window=%d", l.window)
	}
	size := fmt.Sprintf("%dB", l.size)
	if l.size%1024 == 0 {
		size = fmt.Sprintf("%dKiB", l.size/1024)
	}
	return fmt.Sprintf("%s/size=%s/events=%d", who, size, l.events)
}

// turn is how many requests the agent and its floors get at a time: enough for the pipelines to fill, and for
// their filling and emptying to be little of it.
func (l load) turn() int {
	if l.callers == 1 {
		return max(64, 256/l.events)
	}
	if l.callers > 0 {
		return max(8, 64/l.events) * max(64, l.callers)
	}
	return max(4*l.window, 8192/l.events)
}

func (l load) request() *standpipev1.AppendRequest {
	r := &standpipev1.AppendRequest{Stream: "bench"}
	for i := range l.events {
		data := make([]byte, l.size)
		for at := range data {
			data[at] = 'a' + byte(at*7+i)%26
		}
		r.Events = append(r.Events, &standpipev1.Event{PartitionKey: fmt.Sprintf("sensor-%04d", i), Data: data})
	}
	return r
}

// env is the environment of a server for this load.
func (l load) env() string {
	if l.http {
		return listenerEnv + "=http"
	}
	return listenerEnv + "=grpc"
}

const kib = 1 << 10

var loads = []load{
	{callers: 1, events: 1, size: kib},
	{callers: 16, events: 1, size: kib},
	{callers: 64, events: 1, size: kib},
	{callers: 256, events: 1, size: kib},
	{callers: 1, events: 100, size: kib},
	{callers: 64, events: 10, size: kib},
	{callers: 64, events: 100, size: kib},
	{callers: 64, events: 1, size: 512},
	{callers: 64, events: 100, size: 512},
	{callers: 64, events: 1, size: 4 * kib},
	{callers: 64, events: 100, size: 4 * kib},
	{window: 64, events: 1, size: kib},
	{window: 1024, events: 1, size: kib},
	{window: 64, events: 100, size: kib},
	{window: 1024, events: 100, size: kib},
	{window: 1024, events: 1, size: 512},
	{window: 1024, events: 1, size: 4 * kib},
	{http: true, callers: 1, events: 1, size: kib},
	{http: true, callers: 16, events: 1, size: kib},
	{http: true, callers: 64, events: 1, size: kib},
	{http: true, callers: 256, events: 1, size: kib},
	{http: true, callers: 1024, events: 1, size: kib},
	{http: true, callers: 64, events: 100, size: kib},
	{http: true, callers: 64, events: 100, size: 200},
	{http: true, early: true, callers: 64, events: 1, size: kib},
	{http: true, early: true, callers: 256, events: 1, size: kib},
}

func BenchmarkIngest(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, l := range loads {
			b.Run(network+"/"+l.String(), func(b *testing.B) { benchmarkIngest(b, network, l) })
		}
	}
}

// BenchmarkIngestCells is the same over a socket, for 33 cells: sizes, callers and events of a request, unary and streaming. The
// goals of x-L are for their median and their least.
func BenchmarkIngestCells(b *testing.B) {
	for _, size := range []int{512, kib, 4 * kib} {
		for _, events := range []int{1, 10, 100} {
			cells := []load{{callers: 1}, {callers: 16}, {callers: 64}}
			if events != 10 {
				cells = append(cells, load{window: 64})
			}
			for _, l := range cells {
				l.size, l.events = size, events
				b.Run(l.String(), func(b *testing.B) { benchmarkIngest(b, "unix", l) })
			}
		}
	}
}

func benchmarkIngest(b *testing.B, network string, l load) {
	full, bare := startServer(b, "agent", network, l.env()), startServer(b, "bare", network, l.env())
	toAgent, toBare := newProducers(b, full, l), newProducers(b, bare, l)
	reference := floor.New(b, floorBlock)
	var toInline *producers // of one caller over gRPC
	if l.callers == 1 && !l.http {
		toInline = newProducers(b, startServer(b, "inline", network), l)
		toInline.run(b, 1)
		toInline.took = nil
	}
	toAgent.run(b, 1) // connects, and opens the stream
	toBare.run(b, 1)
	toAgent.took, toBare.took = nil, nil
	var agents, bares, sending time.Duration
	var commits int
	start := full.cpu(b)
	b.SetBytes(int64(l.events) * int64(l.size))
	b.ResetTimer()
	b.StopTimer()
	for left := b.N; left > 0; {
		n := min(left, l.turn())
		left -= n
		before, idle := full.commits(b), ownCPU()
		b.StartTimer()
		agents += toAgent.run(b, n)
		b.StopTimer()
		sending += ownCPU() - idle
		bares += toBare.run(b, n)
		if toInline != nil {
			toInline.run(b, n)
		}
		shared := full.commits(b) - before
		reference.Store(b, n*l.events*(l.size+frameRest), shared)
		commits += shared
	}
	agent, bbolt := spread(toAgent.took), spread(reference.Took)
	b.ReportMetric(float64(b.N*l.events)/agents.Seconds(), "events/s")
	b.ReportMetric(float64(bares+bbolt.sum)/float64(agents), "x-L")
	b.ReportMetric(float64(bares)/float64(agents), "x-E")
	b.ReportMetric(float64(agent.p50.Microseconds()), "p50-us")
	b.ReportMetric(float64(agent.p99.Microseconds()), "p99-us")
	b.ReportMetric(float64(commits)/float64(b.N), "commits/op")
	b.ReportMetric(float64((full.cpu(b)-start).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(sending.Microseconds())/float64(b.N), "load-cpu-us/op")
	b.ReportMetric(full.peak(b), "RssAnon-MB")
	b.ReportMetric(float64(b.N*l.events)/bares.Seconds(), "E-events/s")
	b.ReportMetric(float64(b.N*l.events)/bbolt.sum.Seconds(), "B-events/s")
	if l.callers == 1 {
		b.ReportMetric(float64(agent.p50)/float64(spread(toBare.took).p50+bbolt.p50), "p50-x-floor")
	}
	if toInline != nil {
		b.ReportMetric(float64(agent.p50)/float64(spread(toInline.took).p50), "p50-x-inline")
	}
}

// BenchmarkIngestBesideABacklog is ingest in turns at two agents. One of them ships a backlog meanwhile, as fast as a
// discarding destination allows. x-idle is its rate as a part of the other's.
func BenchmarkIngestBesideABacklog(b *testing.B) {
	for _, l := range []load{
		{callers: 1, events: 1, size: kib}, {callers: 64, events: 1, size: kib},
		{callers: 64, events: 100, size: kib}, {window: 1024, events: 1, size: kib},
	} {
		b.Run(l.String(), func(b *testing.B) { benchmarkBeside(b, l) })
	}
}

// backlog is the size of the pending events at the start: more than one second of shipping.
const backlog = 1 << 30

func benchmarkBeside(b *testing.B, l load) {
	idle := startServer(b, "agent", "unix")
	toIdle := newProducers(b, idle, l)
	toIdle.run(b, 1)
	var alone, beside time.Duration
	shipped := 0.0
	b.StopTimer()
	for left := b.N; left > 0; {
		n := min(left, 4*l.turn())
		left -= n
		busy := startServer(b, "agent", "unix", backlogEnv+"=1")
		toBusy := newProducers(b, busy, l)
		before, start := busy.figure(b, deliveredFigure), time.Now()
		beside += toBusy.run(b, n)
		shipped += (busy.figure(b, deliveredFigure) - before) / time.Since(start).Seconds() * float64(n) / float64(b.N)
		if busy.figure(b, pendingFigure) < 1000 {
			b.Log("the backlog was shipped before the turn was over")
		}
		busy.stop()
		alone += toIdle.run(b, n)
	}
	b.ReportMetric(float64(b.N*l.events)/beside.Seconds(), "events/s")
	b.ReportMetric(float64(alone)/float64(beside), "x-idle")
	b.ReportMetric(shipped, "shipped/s")
}

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverEnv); kind != "" {
		os.Exit(serveBench(kind))
	}
	os.Exit(m.Run())
}
