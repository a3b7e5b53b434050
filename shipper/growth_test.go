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
