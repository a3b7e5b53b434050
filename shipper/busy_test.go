package shipper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sourcetest"
	"github.com/standpipe/standpipe/wal"
)

// unreliable is a destination whose requests fail in every way, until it is calm.
type unreliable struct {
	shape shipper.Shape
	most  time.Duration // of a request

	mu   sync.Mutex // guards rand and calm
	rand *rand.Rand
	calm bool
}

func (u *unreliable) Shape() shipper.Shape { return u.shape }
func (u *unreliable) Close() error         { return nil }

func (u *unreliable) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	u.mu.Lock()
	took, calm, kind, results := time.Duration(u.rand.Int64N(int64(u.most)+1)), u.calm, u.rand.IntN(8), make([]*shipper.Error, len(batch))
	sent := 0
	for i := range results {
		sent += len(batch[i].Data)
		if !calm && u.rand.IntN(3) == 0 {
			results[i] = failure([]shipper.Class{shipper.Transient, shipper.Throttled}[u.rand.IntN(2)], "record")
		}
	}
	u.mu.Unlock()
	time.Sleep(took)
	if calm || kind > 3 {
		return shipper.Response{Results: results, Code: "200", Sent: sent}
	}
	err := failure(shipper.Transient, "500")
	switch kind {
	case 0:
		err.Class = shipper.Throttled
	case 1:
		err.Code, err.Unreached = "connection", true
	case 2:
		err.TooLarge = true
	case 3:
		<-ctx.Done()
		err.Code = shipper.CodeTimeout
	}
	return shipper.Response{Err: err, Code: err.Code}
}

// drawnOptions returns options of a shipper of a log in which each look takes some time.
func drawnOptions(r *rand.Rand, log *slowLog, sink *unreliable, link *shipper.Link) shipper.Options {
	o := shipper.Options{Source: log, Cursor: slowCursor{log.Cursor("s", "d"), log}, Sink: sink, Dead: new(sourcetest.DeadLetters),
		MaxDelay: time.Millisecond << r.IntN(11), Retry: shipper.Retry{Initial: 10 * time.Millisecond, Max: 10 * time.Second, Timeout: 5 * time.Second},
		InFlight: 1 + r.IntN(4), Unpaced: r.IntN(2) == 0, Endpoint: "e"}
	if r.IntN(2) == 0 {
		o.Memory = 64 << 10
	}
	if r.IntN(2) == 0 {
		o.Link = link
	}
	if r.IntN(3) == 0 {
		o.Bandwidth = shipper.NewLink(1000 << r.IntN(7))
	}
	switch r.IntN(3) {
	case 0:
		o.CatchUp = shipper.CatchUp{FreshShare: 0.5}
	case 1:
		o.CatchUp = shipper.CatchUp{Latest: true}
	}
	return o
}

// Each event is delivered soon after the failures have ended, without another one that wakes the shipper. Each look at the log
// takes as long as the pauses between the looks.
func TestBusyMachine_NoEventWaitsForTheNext(t *testing.T) {
	shapes := []shipper.Shape{firehoseShape(), kinesisShape(), byShardShape(), oneKeyShape(), strictShape(), fileShape()}
	for seed := range uint64(30) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 24))
				sink := &unreliable{shape: shapes[r.IntN(len(shapes))], most: time.Second * time.Duration(r.IntN(2)), rand: rand.New(rand.NewPCG(seed, 25))}
				link := shipper.NewLink(1000 << r.IntN(7))
				log := &slowLog{Log: sourcetest.New(), rand: rand.New(rand.NewPCG(seed, 26))}
				o := drawnOptions(r, log, sink, link)
				log.most = 1 + o.MaxDelay/time.Duration(5+r.IntN(50))
				ship := shipper.New(o)
				done := make(chan error, 1)
				go func() { done <- ship.Run(context.Background()) }()
				for round := range 10 {
					sink.setCalm(false)
					for range r.IntN(20) {
						log.send(t, r, o.MaxDelay)
					}
					time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
					sink.setCalm(true)
					for i := range 8 {
						log.send(t, r, o.MaxDelay)
						time.Sleep(5 * time.Minute)
						if st := o.Cursor.Stat(); st.Pending.Events != 0 {
							t.Fatalf("round %d: %d events are still pending five minutes after event %d; %+v", round, st.Pending.Events, i, ship.Report())
						}
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

// send appends an event after a part of most.
func (l *slowLog) send(t *testing.T, r *rand.Rand, most time.Duration) {
	time.Sleep(time.Duration(r.Int64N(int64(most))))
	e := wal.Event{Key: fmt.Sprint("k", r.IntN(9)), Data: make([]byte, 1+r.IntN(300)), Time: 1}
	if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{e}}); err != nil {
		t.Fatal(err)
	}
}

func (u *unreliable) setCalm(calm bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calm = calm
}
