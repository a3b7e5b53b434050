package replay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/replay"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// memoryLog is a log of one stream in memory. Offsets in gone are not there.
type memoryLog struct {
	mu     sync.Mutex
	events []wal.Event
	gone   map[uint64]bool // guarded by mu
}

// base is the time of offset 0; each offset is a second later.
var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newLog(r *rand.Rand, n int) *memoryLog {
	l := &memoryLog{gone: make(map[uint64]bool)}
	for i := range n {
		key := fmt.Sprint("k", r.IntN(20))
		l.events = append(l.events, wal.Event{
			Key: key, Lane: wal.LaneOf(key), Offset: uint64(i + 1), Data: fmt.Appendf(nil, "%s %d", key, i+1),
			Time: base.Add(time.Duration(i+1) * time.Second).UnixNano(),
		})
	}
	return l
}

func (l *memoryLog) Next(string) uint64            { return uint64(len(l.events) + 1) }
func (l *memoryLog) Grown(string) <-chan struct{}  { return nil }
func (l *memoryLog) Flow() uint64                  { return 0 }
func (l *memoryLog) Appended(string) (c wal.Count) { return c }
func (l *memoryLog) Full() bool                    { return false }
func (l *memoryLog) Stat() (s wal.Stat)            { return s }
func (l *memoryLog) Branches(string) []wal.Branch  { return []wal.Branch{{ID: "log"}} }

func (l *memoryLog) remove(from, next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; from < next; from++ {
		l.gone[from] = true
	}
}

// Read returns up to 100 events. It takes time, so a replay that reads again and again does not stop the clock of the bubble.
func (l *memoryLog) Read(_ string, from uint64, lanes wal.LaneSet, limit int) (c wal.Chunk, _ error) {
	time.Sleep(10 * time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Next = from
	for ; c.Next < l.Next("") && len(c.Events) < 100 && limit > 0; c.Next++ {
		e := l.events[c.Next-1]
		if !l.gone[e.Offset] && lanes.Has(e.Lane) {
			c.Events = append(c.Events, e)
			limit -= e.Memory()
		}
	}
	c.End = c.Next == l.Next("")
	return c, nil
}

// sink takes one event a record. It fails as drawn, and notes the order in which it takes events.
type sink struct {
	quota  shipper.Quota
	mu     sync.Mutex
	r      *rand.Rand
	fails  int // of 100 records, and of 100 requests; guarded by mu
	poison string
	before func() // each request; nil: nothing
	stored []string
	closed bool
}

func (s *sink) Shape() shipper.Shape {
	return shipper.Shape{
		Framing: shipper.FramingNone, OneKey: true, RecordEvents: 1, MaxRecord: 1 << 20, AimRecord: 1, BatchRecords: 10, MaxBatch: 1 << 20, BilledStep: 1,
		Quota: s.quota,
	}
}

func (s *sink) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	if s.before != nil {
		s.before()
	}
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return shipper.Response{Err: &shipper.Error{Class: shipper.Transient, Code: "timeout", Record: -1}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r.IntN(100) < s.fails {
		return shipper.Response{Err: &shipper.Error{Class: shipper.Transient, Code: "500", Record: -1}, Code: "500"}
	}
	results := make([]*shipper.Error, len(batch))
	for i, record := range batch {
		switch {
		case s.poison != "" && string(record.Data) == s.poison:
			results[i] = &shipper.Error{Class: shipper.Poison, Code: "Refused", Record: -1}
		case s.r.IntN(100) < s.fails:
			results[i] = &shipper.Error{Class: shipper.Throttled, Code: "Throttled", Record: -1}
		default:
			s.stored = append(s.stored, string(record.Data))
		}
	}
	return shipper.Response{Results: results, Code: "200"}
}

func (s *sink) Close() error {
	s.closed = true
	return nil
}

// rig is a runner with one destination.
type rig struct {
	opened func() // called after the sink was opened; nil: nothing
	*replay.Runner
	log            *memoryLog
	sink           *sink
	left, stopping chan struct{}
	paced          atomic.Bool // live delivery
	conf           config.Destination
}

func newRig(r *rand.Rand, events int) *rig {
	g := &rig{
		log: newLog(r, events), sink: &sink{r: r}, left: make(chan struct{}), stopping: make(chan struct{}),
		conf: config.Destination{Type: "kinesis", Name: "live"},
	}
	g.Runner = replay.New(replay.Options{Log: g.log, Logger: hclog.NewNullLogger(), Find: func(stream, name string) (replay.Target, error) {
		if name != "live" {
			return replay.Target{}, admin.ErrNoDestination
		}
		return replay.Target{
			Conf: g.conf, Live: g.live, Left: g.left, Stopping: g.stopping,
			Open: func(context.Context) (shipper.Sink, error) {
				if g.opened != nil {
					g.opened()
				}
				return g.sink, nil
			},
		}, nil
	}})
	return g
}

func (g *rig) live() shipper.Report {
	if g.paced.Load() {
		return shipper.Report{State: shipper.Running, Waits: shipper.WaitPaced}
	}
	return shipper.Report{State: shipper.Running}
}

// wait returns the result of the replay.
func (g *rig) wait(t *testing.T) admin.Replay {
	t.Helper()
	for range 3600 {
		got, err := g.Get("s", "live")
		if err != nil {
			t.Fatal(err)
		}
		if got.State != admin.ReplayRunning {
			return got
		}
		time.Sleep(time.Second)
	}
	got, err := g.Cancel("s", "live") // the bubble ends with it
	t.Fatalf("the replay does not end within an hour: %+v, %v", got, err)
	return admin.Replay{}
}

// byKey returns the payloads of each key in their order.
func byKey(payloads []string) map[string][]string {
	all := make(map[string][]string)
	for _, p := range payloads {
		key, _, _ := strings.Cut(p, " ")
		all[key] = append(all[key], p)
	}
	return all
}

// Each wanted event of a drawn range is sent once, in the order of its key, through drawn failures.
func TestReplay_SendsTheRange(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			n := 1 + r.IntN(2000)
			g := newRig(r, n)
			g.sink.fails = r.IntN(3) * 10
			from := 1 + r.IntN(n)
			to := from + 1 + r.IntN(n+1-from)
			q := admin.ReplayRequest{FromOffset: uint64(from), ToOffset: uint64(to)}
			if r.IntN(2) == 0 {
				q.FromOffset, q.FromTime = 0, base.Add(time.Duration(from)*time.Second)
			}
			if r.IntN(2) == 0 {
				q.ToOffset, q.ToTime = 0, base.Add(time.Duration(to)*time.Second)
			}
			if r.IntN(3) == 0 {
				for range 1 + r.IntN(5) {
					q.Keys = append(q.Keys, fmt.Sprint("k", r.IntN(25)))
				}
			}
			var want []string
			for _, e := range g.log.events[from-1 : to-1] {
				if q.Keys == nil || slices.Contains(q.Keys, e.Key) {
					want = append(want, string(e.Data))
				}
			}
			if _, err := g.Start(t.Context(), "s", "live", q); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got := g.wait(t)
			if got.State != admin.ReplayDone || got.Offset != uint64(to) || got.Events != uint64(len(want)) || got.Error != "" || !g.sink.closed {
				t.Fatalf("seed %d: got %+v, want %d events of %d to %d", seed, got, len(want), from, to)
			}
			sent, wanted := byKey(g.sink.stored), byKey(want)
			for key := range wanted {
				if !slices.Equal(sent[key], wanted[key]) {
					t.Fatalf("seed %d, key %s: got %q, want %q", seed, key, sent[key], wanted[key])
				}
			}
			if len(g.sink.stored) != len(want) {
				t.Fatalf("seed %d: %d events were sent, want %d", seed, len(g.sink.stored), len(want))
			}
		})
	}
}

// A range whose beginning is gone is rejected with the first offset that can be read. Events that go during the replay end it
// after those before them.
func TestReplay_EndsWhereEventsAreGone(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			g := newRig(r, 5000)
			first := uint64(2 + r.IntN(100))
			g.log.remove(1, first)
			want := fmt.Sprintf("it can be read from offset %d of", first)
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOffset: first - 1}); !errors.Is(err, admin.ErrRange) || !strings.Contains(err.Error(), want) {
				t.Fatalf("seed %d: got %v, want %q", seed, err, want)
			}
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromTime: base}); !errors.Is(err, admin.ErrRange) || !strings.Contains(err.Error(), fmt.Sprintf("begins at offset %d", first)) {
				t.Fatalf("seed %d: got %v", seed, err)
			}
			gap := uint64(1000 + r.IntN(2000))
			next := gap + uint64(1+r.IntN(1000))
			g.log.remove(gap, next)
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); err != nil {
				t.Fatal(err)
			}
			got := g.wait(t)
			want = fmt.Sprintf("events from offset %d up to %d are gone from the log; a replay may go on from offset %d", gap, next-1, next)
			if got.State != admin.ReplayFailed || got.Error != want || got.Offset != gap || got.Events != gap-first {
				t.Fatalf("seed %d: got %+v, want %q", seed, got, want)
			}
		})
	}
}

// Events behind a gap go while the replay sends those before it. Its error is as of its end, and the range may have no event then.
func TestReplay_NamesTheGapAsOfItsEnd(t *testing.T) {
	for next, want := range map[uint64]string{
		2500: "events from offset 2000 up to 2499 are gone from the log; a replay may go on from offset 2500",
		3000: "events from offset 2000 up to 2999, the end of the range, are gone from the log",
		4000: "events from offset 2000 up to 2999, the end of the range, are gone from the log",
		5001: "events from offset 2000 up to 2999, the end of the range, are gone from the log",
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(rand.New(rand.NewPCG(1, 8)), 5000)
			g.log.remove(2000, 2100)
			g.sink.before = func() { time.Sleep(time.Second) }
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOffset: 1, ToOffset: 3000}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			g.log.remove(2100, next)
			if got := g.wait(t); got.State != admin.ReplayFailed || got.Error != want || got.Offset != 2000 {
				t.Errorf("got %+v, want %q", got, want)
			}
		})
	}
}

// A replay ends when it is cancelled, when the destination leaves and when the agent stops, and says which of these it was.
func TestReplay_Ends(t *testing.T) {
	for name, end := range map[string]func(g *rig){
		"cancelled by an operator": func(g *rig) { g.Cancel("s", "live") },
		"paused, changed":          func(g *rig) { close(g.left) },
		"the agent stops":          func(g *rig) { g.Stop() },
		"replays are not resumed":  func(g *rig) { close(g.stopping) },
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(rand.New(rand.NewPCG(1, 3)), 1000)
			g.sink.before = func() { time.Sleep(time.Second) }
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); !errors.Is(err, admin.ErrConflict) {
				t.Errorf("%s: a second replay: got %v", name, err)
			}
			end(g)
			got := g.wait(t)
			if got.State != admin.ReplayCancelled || !strings.Contains(got.Error, name) || got.Events == 0 || got.Events >= 1000 || !g.sink.closed {
				t.Errorf("%s: got %+v", name, got)
			}
		})
	}
}

// A request that does not return when it is cut off uses the sink beyond the end of the replay. The sink is closed after it.
func TestReplay_ClosesTheSinkOfAStuckRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(rand.New(rand.NewPCG(1, 3)), 10)
		g.sink.before = func() {
			time.Sleep(time.Minute)
			if g.sink.closed {
				t.Error("the sink is closed before the request returns")
			}
		}
		if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got, err := g.Cancel("s", "live"); err != nil || got.State != admin.ReplayCancelled {
			t.Errorf("got %+v, %v", got, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !g.sink.closed {
			t.Error("the sink is open")
		}
	})
}

// A replay takes a quarter of the quota of its destination, in bytes, records or requests, and not much less.
func TestReplay_TakesAQuarterOfAQuota(t *testing.T) {
	const (
		events  = 4000
		seconds = 60 // that the replay needs at a quarter of the quota
	)
	for name, quota := range map[string]shipper.Quota{
		"bytes":    {Bytes: 4 * events * len("k1 1000") / seconds},
		"records":  {Records: 4 * events / seconds, Bytes: 1 << 30},
		"requests": {Requests: 4 * events / 10 / seconds, Records: 1 << 30},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(rand.New(rand.NewPCG(1, 7)), events)
			g.conf.Pace, g.sink.quota = true, quota
			begin := time.Now()
			if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); err != nil {
				t.Fatal(err)
			}
			got := g.wait(t)
			if took := time.Since(begin).Seconds(); got.State != admin.ReplayDone || got.Events != events || took < seconds*0.9 || took > seconds*1.5 {
				t.Errorf("%s: got %d events in %.0f s, %+v, want %d in about %d s", name, got.Events, took, got, events, seconds)
			}
		})
	}
}

// A caller that leaves while the sink is opened gets no replay: it could not cancel one.
func TestReplay_DoesNotStartForACallerThatLeft(t *testing.T) {
	g := newRig(rand.New(rand.NewPCG(1, 9)), 10)
	ctx, leave := context.WithCancel(t.Context())
	g.opened = leave
	if got, err := g.Start(ctx, "s", "live", admin.ReplayRequest{FromOldest: true}); !errors.Is(err, context.Canceled) || !g.sink.closed {
		t.Errorf("got %+v, %v, want no replay and a closed sink", got, err)
	}
	if got, err := g.Get("s", "live"); !errors.Is(err, admin.ErrNoReplay) {
		t.Errorf("got %+v, %v, want none", got, err)
	}
}

// A replay reads nothing while live delivery waits.
func TestReplay_YieldsToLiveDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(rand.New(rand.NewPCG(1, 4)), 1000)
		g.paced.Store(true)
		if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, _ := g.Get("s", "live"); got.Events > 0 || got.Waits != "live events go first" {
			t.Errorf("got %+v while live events wait", got)
		}
		g.paced.Store(false)
		if got := g.wait(t); got.State != admin.ReplayDone || got.Events != 1000 {
			t.Errorf("got %+v", got)
		}
	})
}

// A rejected event is counted, and its key goes on.
func TestReplay_CountsRejectedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(rand.New(rand.NewPCG(1, 5)), 100)
		g.sink.poison = string(g.log.events[41].Data)
		if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); err != nil {
			t.Fatal(err)
		}
		if got := g.wait(t); got.State != admin.ReplayDone || got.Events != 99 || got.Rejected != 1 || !strings.Contains(got.FirstRejection, "Refused") {
			t.Errorf("got %+v", got)
		}
	})
}

// Types whose output has the place or the number of an event take no replay.
func TestReplay_IsRefusedByType(t *testing.T) {
	for _, conf := range []config.Destination{
		{Type: "file"}, {Type: "s3"}, {Type: "statsd"}, {Type: "stdout"}, {Type: "relay"},
		{Type: "kafka", Kafka: config.Kafka{Delivery: "exactly_once"}}, {Type: "sqs", SQS: config.SQS{QueueURL: "https://sqs/1/jobs.fifo"}},
	} {
		g := newRig(rand.New(rand.NewPCG(1, 6)), 10)
		g.conf = conf
		if _, err := g.Start(t.Context(), "s", "live", admin.ReplayRequest{FromOldest: true}); !errors.Is(err, admin.ErrRange) || !strings.Contains(err.Error(), "standpipe ") {
			t.Errorf("%s: got %v", conf.Type, err)
		}
	}
}
