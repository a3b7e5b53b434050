package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sourcetest"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// countedLog counts the reads of a log.
type countedLog struct {
	*sourcetest.Log
	reads atomic.Int64
}

func (l *countedLog) Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error) {
	l.reads.Add(1)
	return l.Log.Read(stream, from, lanes, limit)
}

// Events that wait to be batched stay in the log until their batch is due, and no event waits longer than the delay.
func TestGrowth_IsReadOnceABatch(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 21))
				log, keys := &countedLog{Log: sourcetest.New()}, 1+r.IntN(50)
				delay, most := 100*time.Millisecond<<r.IntN(5), time.Second/time.Duration(1<<r.IntN(8))
				var came sync.Map // of times
				m := &meter{shape: firehoseShape(), taken: func(rec shipper.Record) {
					for line := range strings.Lines(string(rec.Data)) {
						at, _ := came.Load(strings.TrimSpace(line))
						if waited := time.Since(at.(time.Time)); waited > delay {
							t.Errorf("an event waited for %s, at most %s are allowed", waited, delay)
						}
					}
				}}
				ship := shipper.New(shipper.Options{Source: log, Cursor: log.Cursor("s", "d"), Sink: m, MaxDelay: delay})
				done := make(chan error, 1)
				go func() { done <- ship.Run(context.Background()) }()
				for i := range 300 {
					time.Sleep(time.Duration(r.Int64N(int64(most))))
					text := fmt.Sprint("event ", i)
					came.Store(text, time.Now())
					e := wal.Event{Key: fmt.Sprint("k", r.IntN(keys)), Data: []byte(text), Time: 1}
					if _, err := log.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{e}}); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				reads := int(log.reads.Load())
				ship.Finish()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if reads > m.requests+1 {
					t.Errorf("got %d reads for %d requests, want one for each", reads, m.requests)
				}
			})
		})
	}
}

// slowLog takes some time for each look at it, as on a busy machine.
type slowLog struct {
	*sourcetest.Log
	mu   sync.Mutex // guards rand
	rand *rand.Rand
	most time.Duration
}

func (l *slowLog) take() {
	l.mu.Lock()
	d := time.Duration(l.rand.Int64N(int64(l.most)))
	l.mu.Unlock()
	time.Sleep(d)
}

func (l *slowLog) Next(stream string) uint64 { l.take(); return l.Log.Next(stream) }

func (l *slowLog) Grown(stream string) <-chan struct{} { l.take(); return l.Log.Grown(stream) }

func (l *slowLog) Appended(stream string) wal.Count { l.take(); return l.Log.Appended(stream) }

// slowCursor takes its log's time for each look at the floor.
type slowCursor struct {
	*sourcetest.Cursor
	log *slowLog
}

func (c slowCursor) Floor() wal.Floor { c.log.take(); return c.Cursor.Floor() }

// The only event of a quiet stream is noticed at whatever time it comes, also when each look at the log takes as long as
// the pauses between the looks.
func TestGrowth_IsNoticedOnABusyMachine(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 22))
				delay := time.Millisecond << r.IntN(11)
				log := &slowLog{Log: sourcetest.New(), rand: rand.New(rand.NewPCG(seed, 23)), most: 1 + delay/time.Duration(5+r.IntN(50))}
				cursor := log.Cursor("s", "d")
				ship := shipper.New(shipper.Options{Source: log, Cursor: slowCursor{cursor, log}, Sink: &meter{shape: firehoseShape()}, MaxDelay: delay})
				done := make(chan error, 1)
				go func() { done <- ship.Run(context.Background()) }()
				for i := range 50 {
					time.Sleep(time.Duration(r.Int64N(int64(delay))))
					e := wal.Event{Key: "k", Data: fmt.Append(nil, "event ", i), Time: 1}
					if _, err := log.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{e}}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					if cursor.Stat().Pending.Events != 0 {
						t.Errorf("event %d is still pending after a minute", i)
						break
					}
				}
				ship.Finish()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Old events are dropped while others wait to be batched, however long that takes.
func TestGrowth_IsDroppedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, wholeFirehose())
		svc.gaps = true
		r := &rig{t: t, dir: fastDir(t), svc: svc, opts: shipper.Options{MaxDelay: time.Hour}, policy: wal.Policy{MaxAge: 10 * time.Second}}
		r.log, r.dead = r.open(), deadletter.Open(r.dir, deadletter.Options{})
		r.src = &source{t: t, log: r.log, n: make(map[string]int)}
		r.start()
		for range 10 {
			r.src.send("k", 1)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if got := droppedOf(r.place().Stat()); got < 8 {
			t.Errorf("%d of 10 events are dropped, want those that are older than 10 s", got)
		}
		r.finish()
	})
}

// An event that comes after a long silence and waits to be batched is no sign of a stalled destination.
func TestGrowth_IsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newService(t, firehoseShape()))
		r.src.send("k", 1)
		time.Sleep(time.Hour)
		r.src.send("k", 1)
		synctest.Wait()
		if r.ship.Stalled(time.Second) {
			t.Error("the destination counts as stalled while an event waits to be batched")
		}
		r.finish()
	})
}
