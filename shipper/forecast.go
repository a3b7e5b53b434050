package shipper

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/wal"
)

// Traffic describes the expected events of producers, even over time and keys.
type Traffic struct {
	PerSecond float64 // events
	Size      int     // bytes of an event's payload
	Keys      int     // as many have about as many events each
	// Compression is how many framed bytes there are for one that is sent, where the Shape compresses; 0: 1.
	Compression float64
}

// Forecast is the result of shipping the traffic; each figure is for one second.
type Forecast struct {
	Events, Payload, Billed, Units, Requests, Records float64
}

const (
	// A forecast looks at so many events at least, and for so many times MaxDelay unless those are too many.
	forecastLeast  = 2_000
	forecastMost   = 200_000
	forecastDelays = 20
)

// Predict returns the predicted bill of a destination of the given shape. It forms batches of made-up events with the
// shipper's own code. It assumes a service that responds at once and never throttles.
func Predict(shape Shape, t Traffic, maxDelay time.Duration) Forecast {
	f := newForecaster(shape, t, maxDelay)
	for !f.done() {
		f.wait()
		f.arrive()
		f.ship()
	}
	return f.perSecond()
}

// forecaster forms batches from made-up events as a shipper does, and counts them.
type forecaster struct {
	lanes   *lanes
	batcher batcher
	traffic Traffic
	random  *rand.Rand
	data    []byte
	keys    []wal.Event // one for each key, without an offset

	began, now time.Time
	step       time.Duration // between two reads of the log
	arrived    int

	events, payload, billed, units, requests, records uint64
}

func newForecaster(shape Shape, t Traffic, maxDelay time.Duration) *forecaster {
	o := Options{Sink: shaped{shape}, MaxDelay: maxDelay}
	o.defaults(shape)
	f := &forecaster{
		lanes:   newLanes([wal.Lanes]wal.Progress{}, shape.WholeOrder, o.Memory, func() uint64 { return 0 }),
		traffic: t,
		random:  rand.New(rand.NewPCG(1, 2)),
		data:    bytes.Repeat([]byte{'x'}, t.Size),
		began:   time.Unix(0, 0),
		step:    readPause(o.MaxDelay),
	}
	f.batcher = batcher{
		sink: o.Sink, lanes: f.lanes, maxDelay: o.MaxDelay, bandwidth: &bandwidth{},
		ratio: pack.NewRatio(max(t.Compression, 1)),
	}
	f.now = f.began
	for i := range t.Keys {
		key := fmt.Sprintf("key-%08d", i)
		f.keys = append(f.keys, wal.Event{Key: key, Lane: wal.LaneOf(key)})
	}
	return f
}

// shaped is a sink for its shape alone.
type shaped struct{ shape Shape }

func (s shaped) Shape() Shape                            { return s.shape }
func (s shaped) Send(context.Context, []Record) Response { return Response{} }
func (s shaped) Close() error                            { return nil }

func (f *forecaster) done() bool {
	enough := f.now.Sub(f.began) >= forecastDelays*f.batcher.maxDelay && f.events >= forecastLeast
	return f.events > 0 && (enough || f.events >= forecastMost)
}

// wait goes on to the next read of the log, or where nothing is held to the next event.
func (f *forecaster) wait() {
	next := f.began.Add(time.Duration(float64(f.arrived+1) / f.traffic.PerSecond * float64(time.Second)))
	if f.now = f.now.Add(f.step); f.lanes.held == 0 && f.now.Before(next) {
		f.now = next
	}
}

// arrive puts the events of a step into their lanes.
func (f *forecaster) arrive() {
	sent := int(f.now.Sub(f.began).Seconds()*f.traffic.PerSecond + 1e-6) // 1e-6: the events that are due now, in spite of rounding
	for f.arrived < sent && f.lanes.held < f.lanes.memory {
		f.arrived++
		e := f.keys[f.random.IntN(len(f.keys))]
		e.Offset, e.Data, e.Time = uint64(f.arrived), f.data, f.now.UnixNano()
		f.lanes.push(f.lanes.of(&e), &e, f.now.Add(-f.step))
	}
}

// ship forms the batches that are due.
func (f *forecaster) ship() {
	for {
		b, _ := f.batcher.next(f.now, demand{}, false)
		if b == nil {
			return
		}
		f.requests++
		size := 0
		for i := range b.Len() {
			f.count(b, i)
			size += b.CountedSize(i)
		}
		if step := b.Shape().RequestStep; step > 0 {
			f.units += uint64((size + step - 1) / step)
		}
		for i := range b.Shares() {
			f.leave(&b.Shares()[i])
		}
		f.batcher.sent()
	}
}

func (f *forecaster) count(b *pack.Batch, record int) {
	bytes, units := b.Shape().Billed(b.CountedSize(record))
	events := b.RecordEvents(record)
	f.billed += bytes
	f.units += units
	f.records++
	f.events += uint64(events)
	f.payload += uint64(events * f.traffic.Size)
}

// leave takes a share's events out of their lane, but for those that were passed over.
func (f *forecaster) leave(s *pack.Share) {
	done := make([]bool, len(s.Events))
	for i := range s.Events {
		done[i] = s.Record(i) >= 0
	}
	l := f.lanes.all[s.Lane]
	l.next = l.queue[len(l.queue)-1].Offset + 1
	f.lanes.held -= l.keep(s.Events, done)
	l.progress.Settled = nil
}

func (f *forecaster) perSecond() Forecast {
	scale := f.traffic.PerSecond / float64(f.events)
	return Forecast{
		Events: f.traffic.PerSecond, Payload: float64(f.payload) * scale, Billed: float64(f.billed) * scale,
		Units: float64(f.units) * scale, Requests: float64(f.requests) * scale, Records: float64(f.records) * scale,
	}
}
