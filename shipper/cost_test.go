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

// meter is a service that accepts everything and counts the requests and bytes that it bills.
type meter struct {
	shape shipper.Shape
	delay time.Duration
	taken func(shipper.Record) // called for each record; nil: nothing

	mu       sync.Mutex
	requests int
	bytes    int // of all records
	last     int // of the last request
}

func (m *meter) Shape() shipper.Shape { return m.shape }
func (m *meter) Close() error         { return nil }

func (m *meter) Send(_ context.Context, batch []shipper.Record) shipper.Response {
	time.Sleep(m.delay)
	size := 0
	for _, r := range batch {
		size += len(r.Data)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range batch {
		if m.taken != nil {
			m.taken(r)
		}
	}
	m.requests++
	m.bytes += size
	m.last = size
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "200"}
}

// wholeFirehose returns Firehose's real shape.
func wholeFirehose() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingLines, MaxRecord: 1000 << 10, AimRecord: 500 << 10, RecordEvents: 500,
		BatchRecords: 500, MaxBatch: 3 << 20, AimBatch: 3 << 20, BilledStep: 5 << 10}
}

// traffic describes the events of producers.
type traffic struct {
	perSecond, size, keys int
	hot                   bool // half of the events have one key
	noise                 bool // the payloads are incompressible
	exact                 bool // every event has exactly size bytes
}

func (tr traffic) String() string {
	s := fmt.Sprintf("events=%d/size=%d/keys=%d", tr.perSecond, tr.size, tr.keys)
	if tr.hot {
		s += "/hot"
	}
	return s
}

// events returns n events of about tr.size bytes.
func (tr traffic) events(r *rand.Rand, n int) []wal.Event {
	events := make([]wal.Event, n)
	for i := range events {
		key := r.IntN(tr.keys)
		if tr.hot && r.IntN(2) == 0 {
			key = 0
		}
		events[i] = wal.Event{Key: fmt.Sprint("key-", key), Data: tr.data(r), Time: 1}
	}
	return events
}

// data returns a payload without a line break: compressible text, or noise.
func (tr traffic) data(r *rand.Rand) []byte {
	size := tr.size
	if !tr.exact {
		size = max(tr.size*3/4+r.IntN(tr.size/2+1), 1)
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte('a' + i%7)
		if tr.noise {
			data[i] = byte(128 + r.IntN(128))
		} else if i%16 == 0 {
			data[i] = byte('a' + r.IntN(26))
		}
	}
	return data
}

// ship sends the traffic of d to m. It returns the ledger as it is before the remaining events are shipped.
func (tr traffic) ship(t *testing.T, m *meter, d time.Duration) wal.CursorStat {
	log := sourcetest.New()
	place := log.Cursor("s", "d")
	ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: m})
	done := make(chan error, 1)
	go func() { done <- ship.Run(context.Background()) }()
	tr.arrive(t, log, d)
	synctest.Wait()
	st := place.Stat()
	ship.Finish()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := place.Stat().Pending.Events; left != 0 {
		t.Errorf("%d events are pending at the end", left)
	}
	return st
}

// arrive appends the traffic of d to the log, 40 times a second.
func (tr traffic) arrive(t *testing.T, log appender, d time.Duration) {
	random := rand.New(rand.NewPCG(3, 4))
	const tick = 25 * time.Millisecond
	sent := 0
	for now := tick; now <= d; now += tick {
		time.Sleep(tick)
		n := int(now.Seconds()*float64(tr.perSecond)) - sent
		if n == 0 {
			continue
		}
		if _, err := log.Append(context.Background(), &wal.Batch{Stream: "s", Events: tr.events(random, n)}); err != nil {
			t.Fatal(err)
		}
		sent += n
	}
}

func TestFirehoseBillsLittleMoreThanThePayload(t *testing.T) {
	for _, tt := range []struct {
		traffic
		most float64 // billed bytes over payload bytes
	}{
		{traffic{perSecond: 500, size: 512, keys: 1000}, 1.03},
		{traffic{perSecond: 500, size: 512, keys: 24}, 1.03},
		{traffic{perSecond: 500, size: 512, keys: 1}, 1.03},
		{traffic{perSecond: 500, size: 512, keys: 1000, hot: true}, 1.03},
		{traffic{perSecond: 600, size: 512, keys: 1000}, 1.03},
		{traffic{perSecond: 100, size: 512, keys: 1000}, 1.03},
		{traffic{perSecond: 20, size: 512, keys: 1000}, 1.05},
		{traffic{perSecond: 2000, size: 100, keys: 1000}, 1.03}, // the newlines alone make it 1.01
		{traffic{perSecond: 3000, size: 100, keys: 1000, hot: true}, 1.03},
	} {
		t.Run(tt.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meter{shape: wholeFirehose(), delay: 30 * time.Millisecond}
				st := tt.ship(t, m, 10*time.Second)
				ratio := float64(st.BilledBytes) / float64(st.Delivered.Bytes)
				t.Logf("%.4f billed/payload, %d requests, %d records of %d bytes", ratio,
					st.Requests, st.Records, st.BilledBytes/st.Records)
				if ratio > tt.most {
					t.Errorf("billed %.4f of the payload, want at most %.4f", ratio, tt.most)
				}
			})
		})
	}
}

// A request has one record a key, of at most 500 events. So few keys with small events fill a request only where order
// does not matter.
func TestABacklogGoesInRequestsAsFullAsOrderAllows(t *testing.T) {
	for _, tt := range []struct {
		traffic
		order bool
		least float64 // MiB a request
	}{
		{traffic{size: 512, keys: 1000}, true, 2.2},
		{traffic{size: 512, keys: 24}, true, 1.1},
		{traffic{size: 100, keys: 24}, true, 0.8},
		{traffic{size: 512, keys: 1}, true, 0.23},
		{traffic{size: 512, keys: 1}, false, 2.5},
	} {
		t.Run(fmt.Sprintf("%v/order=%v", tt.traffic, tt.order), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meter{shape: wholeFirehose(), delay: 30 * time.Millisecond}
				m.shape.AnyOrder = !tt.order
				began := time.Now()
				st := tt.backlog(t, m, 15<<20)
				if took, most := time.Since(began), time.Duration(st.Requests)*m.delay+2*time.Second; took > most {
					t.Errorf("it took %v, want at most %v: what waits for room has no company to wait for", took, most)
				}
				mib := float64(m.bytes-m.last) / float64(st.Requests-1) / (1 << 20) // without the last request, which is not full
				t.Logf("%.2f MiB a request, %d requests, %d records, billed %.4f", mib, st.Requests, st.Records,
					float64(st.BilledBytes)/float64(st.Delivered.Bytes))
				if mib < tt.least {
					t.Errorf("%.2f MiB a request, want at least %.2f", mib, tt.least)
				}
			})
		})
	}
}

// backlog ships a backlog of that many payload bytes.
func (tr traffic) backlog(t *testing.T, m *meter, bytes int) wal.CursorStat {
	log := sourcetest.New()
	place := log.Cursor("s", "d")
	random := rand.New(rand.NewPCG(3, 4))
	for range bytes / tr.size / 10000 {
		if _, err := log.Append(context.Background(), &wal.Batch{Stream: "s", Events: tr.events(random, 10000)}); err != nil {
			t.Fatal(err)
		}
	}
	ship := shipper.New(shipper.Options{Source: log, Cursor: place, Sink: m})
	done := make(chan error, 1)
	go func() { done <- ship.Run(context.Background()) }()
	for place.Stat().Pending.Events > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	st := place.Stat()
	ship.Finish()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return st
}
