package shipper_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// tally is a destination that rejects everything while it is down, and otherwise records the stored events.
type tally struct {
	*service
	stored map[string]bool
	down   bool
}

func (s *tally) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return shipper.Response{Err: &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}}
	}
	for _, r := range batch {
		for _, line := range strings.Split(strings.TrimSuffix(string(r.Data), "\n"), "\n") {
			s.stored[line] = true
		}
	}
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "200"}
}

func TestAFullLogDropsTheOldestOfWhatAStuckDestinationHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, err := wal.Open(context.Background(), wal.Options{Dir: t.TempDir(), MaxSize: 4 << 20, OnFull: wal.DropOldest})
		if err != nil {
			t.Fatal(err)
		}
		place, _ := log.OpenCursor("s", "d")
		svc := &tally{service: newService(t, firehoseShape()), stored: make(map[string]bool), down: true}
		ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: svc})
		done := make(chan error, 1)
		go func() { done <- ship.Run(context.Background()) }()

		const batches, each = 1000, 60
		for i := range batches {
			b := &wal.Batch{Stream: "s"}
			for j := range each {
				b.Events = append(b.Events, wal.Event{Key: fmt.Sprint("k", (i+j)%24), Data: fmt.Appendf(nil, "%0100d", i*each+j), Time: 1})
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if _, err := log.Append(ctx, b); err != nil {
				t.Fatalf("append %d: %v; %+v, %+v", i, err, log.Stat(), place.Stat())
			}
			cancel()
		}
		svc.mu.Lock()
		svc.down = false
		svc.mu.Unlock()
		ship.Finish()
		if err := <-done; err != nil {
			t.Error(err)
		}
		st := place.Stat()
		dropped := st.Dropped[wal.DroppedFull].Events
		if dropped == 0 || st.Pending.Events != 0 || st.Delivered.Events != uint64(len(svc.stored)) ||
			dropped+st.Delivered.Events != batches*each {
			t.Errorf("got %+v and %d events stored", st, len(svc.stored))
		}
		if first := fmt.Sprintf("%0100d", dropped); dropped > 0 && !svc.stored[first] {
			t.Errorf("%d events dropped, but they are not the oldest", dropped)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestADestinationThatIsDownIsNotReadForOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, kinesisShape())
		svc.faults = func(*rand.Rand, []shipper.Record) fault {
			return fault{err: &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1}}
		}
		r := newRig(t, svc)
		for i := range 200 {
			r.src.send(fmt.Sprint("k", i%30), 200)
		}
		time.Sleep(time.Hour) // under virtual time this ends only if the shipper sleeps too
		synctest.Wait()
		if svc.requests < 100 || svc.requests > 1000 {
			t.Errorf("%d requests in an hour, want one every 15 s or so", svc.requests)
		}
		svc.mu.Lock()
		svc.faults = nil
		svc.mu.Unlock()
		r.finish()
	})
}

func TestWhatIsTooOldIsDroppedWithThatReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, err := wal.Open(context.Background(), wal.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		log.SetPolicy(func(string) wal.Policy { return wal.Policy{MaxAge: time.Hour} })
		place, _ := log.OpenCursor("s", "d")
		svc := &tally{service: newService(t, firehoseShape()), stored: make(map[string]bool), down: true}
		ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: svc})
		done := make(chan error, 1)
		go func() { done <- ship.Run(context.Background()) }()
		send := func(from, to int) {
			b := &wal.Batch{Stream: "s"}
			for i := from; i < to; i++ {
				b.Events = append(b.Events, wal.Event{Key: fmt.Sprint("k", i%24), Data: fmt.Appendf(nil, "%0100d", i), Time: 1})
			}
			if _, err := log.Append(context.Background(), b); err != nil {
				t.Fatal(err)
			}
		}
		send(0, 2000)
		time.Sleep(40 * time.Minute)
		send(2000, 3000)
		time.Sleep(30 * time.Minute)
		want := map[string]wal.Count{wal.DroppedAge: {Events: 2000, Bytes: 200_000}}
		if st := place.Stat(); !maps.Equal(st.Dropped, want) || st.Pending.Events != 1000 || st.Checkpoint != 2001 {
			t.Errorf("got %+v, want %v dropped", st, want)
		}
		svc.mu.Lock()
		svc.down = false
		svc.mu.Unlock()
		ship.Finish()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if st := place.Stat(); st.Delivered.Events != 1000 || st.Pending.Events != 0 || len(svc.stored) != 1000 {
			t.Errorf("got %+v and %d events stored, want 1000 delivered", st, len(svc.stored))
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}
