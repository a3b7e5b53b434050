package shipper_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// TestABacklogLeavesTheProducersTheirTurn reads a backlog beside a producer, and then without one.
func TestABacklogLeavesTheProducersTheirTurn(t *testing.T) {
	const event, events = 256 << 10, 480 // 120 MiB
	synctest.Test(t, func(t *testing.T) {
		shape := fileShape()
		shape.MaxBatch = 8 << 20
		dir := fastDir(t)
		log := openLog(t, dir)
		defer log.Close()
		place, err := log.OpenCursor("s", "d")
		if err != nil {
			t.Fatal(err)
		}
		data := string(make([]byte, event))
		for i := range events {
			testkit.AppendOne(t, log, "s", fmt.Sprint("k", i), data)
		}
		ship, done := startShipping(t, log, place, shape)
		for range 100 { // for a second
			testkit.AppendOne(t, log, "other", "k", data[:100])
			time.Sleep(10 * time.Millisecond)
		}
		beside := place.Stat().Delivered.Bytes
		time.Sleep(time.Second)
		alone := place.Stat().Delivered.Bytes - beside
		ship.Finish()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if beside < 24<<20 || beside > 40<<20 {
			t.Errorf("%d bytes were shipped in a second beside a producer, want about 32 MiB", beside)
		}
		if alone < 60<<20 {
			t.Errorf("%d bytes were shipped in a second without one", alone)
		}
	})
}

// TestABacklogShrinksHoweverMuchProducersSend checks that a backlog shrinks although events are appended to its stream.
func TestABacklogShrinksHoweverMuchProducersSend(t *testing.T) {
	const event = 256 << 10
	synctest.Test(t, func(t *testing.T) {
		shape := fileShape()
		shape.MaxBatch = 8 << 20
		log := openLog(t, fastDir(t))
		defer log.Close()
		place, err := log.OpenCursor("s", "d")
		if err != nil {
			t.Fatal(err)
		}
		data := string(make([]byte, event))
		for range 160 { // 40 MiB
			testkit.AppendOne(t, log, "s", "k", data)
		}
		before := place.Stat().Pending.Bytes
		ship, done := startShipping(t, log, place, shape)
		for range 160 { // 40 MiB more, in 0.8 s
			testkit.AppendOne(t, log, "s", "k", data)
			time.Sleep(5 * time.Millisecond)
		}
		if after := place.Stat().Pending.Bytes; after > before/2 {
			t.Errorf("%d bytes are pending, %d were before", after, before)
		}
		ship.Finish()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// startShipping ships with a cursor to a destination that accepts everything after a millisecond.
func startShipping(t *testing.T, log *wal.Log, place *wal.Cursor, shape shipper.Shape) (*shipper.Shipper, chan error) {
	ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: greedy{shape}, MaxDelay: 10 * time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- ship.Run(context.Background()) }()
	return ship, done
}

// greedy accepts everything after a millisecond.
type greedy struct{ shape shipper.Shape }

func (g greedy) Shape() shipper.Shape { return g.shape }
func (greedy) Close() error           { return nil }

func (greedy) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	time.Sleep(time.Millisecond)
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "200"}
}
