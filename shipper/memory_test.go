package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// A backlog of attributes takes no more memory than one of data, both if the destination hangs and if it is down.
func TestMemory_CountsWhatEventsCarry(t *testing.T) {
	const memory, backlog = 4 << 20, 48 << 20
	for _, size := range []int{300, 100_000} {
		for name, regime := range map[string]func(*service){
			"hangs": func(svc *service) { svc.delay = time.Hour },
			"down": func(svc *service) {
				svc.faults = func(*rand.Rand, []shipper.Record) fault { return fault{err: failure(shipper.Transient, "connection")} }
			},
		} {
			t.Run(fmt.Sprintf("%d/%s", size, name), func(t *testing.T) {
				held := make(map[bool]int64)
				for _, attributes := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						shape := kinesisShape()
						shape.MaxRecord, shape.MaxBatch, shape.AimBatch = 1<<20, 2<<20, 1<<20
						svc := newService(t, shape)
						regime(svc)
						held[attributes] = heapOfBacklog(t, svc, memory, backlog, size, attributes)
					})
				}
				t.Logf("a backlog of data: %d bytes of heap, of attributes: %d", held[false], held[true])
				if got, want := held[true], held[false]; got > max(want, memory)+memory/2 {
					t.Errorf("a backlog of attributes takes %d bytes of heap, one of data %d", got, want)
				}
			})
		}
	}
}

// heapOfBacklog returns the heap that a shipper uses in addition to the backlog's own.
func heapOfBacklog(t *testing.T, svc *service, memory, backlog, size int, attributes bool) int64 {
	dir := fastDir(t)
	log, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", size)
	for stored := 0; stored < backlog; {
		b := &wal.Batch{Stream: "s"}
		for i := range max(1, 1<<18/size) {
			key := fmt.Sprint("k", (stored+i)%70)
			e := wal.Event{Key: key, Data: []byte(key + " 1"), Time: 1}
			if attributes {
				e.Attributes = map[string]string{"a": big[:size/2], "b": big[size/2:]}
			} else {
				e.Data = []byte(key + " 1 " + big)
			}
			b.Events = append(b.Events, e)
			stored += size
		}
		if _, err := log.Append(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	place, err := log.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: svc, Memory: memory, Unpaced: true,
		Retry: shipper.Retry{Timeout: time.Hour}})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = ship.Run(ctx) })
	time.Sleep(20 * time.Minute)
	synctest.Wait()
	used := heapInUse() - before
	if got := ship.Report().Held; got > memory+1<<20 {
		t.Errorf("got %d bytes held, want at most %d", got, memory)
	}
	cancel()
	run.Wait()
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	return used
}

// heapInUse returns the number of heap bytes in use.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // sweeps the garbage that the first call found
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
