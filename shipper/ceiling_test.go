package shipper_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// narrow is a service behind a proxy that accepts requests of at most so many bytes.
type narrow struct {
	*service
	most    int
	refused int
}

func (n *narrow) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	size := 0
	for _, r := range batch {
		size += len(r.Data) + len(r.Key)
	}
	n.mu.Lock()
	most := n.most
	if size > most {
		n.refused++
	}
	n.mu.Unlock()
	if size > most {
		return shipper.Response{Err: &shipper.Error{Class: shipper.Operator, Code: "HTTP 413", Record: -1, TooLarge: true}, Code: "413"}
	}
	return n.service.Send(ctx, batch)
}

func (n *narrow) refusals() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refused
}

func (n *narrow) set(most int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.most = most
}

// A batch too large for a proxy goes through in smaller requests, and no event becomes a dead letter. A single event
// that is too large waits for an operator, and holds up only its lane.
func TestCeiling_ProxyThatTakesLess(t *testing.T) {
	for name, shape := range map[string]shipper.Shape{"kinesis": kinesisShape(), "firehose": firehoseShape(), "strict": strictShape()} {
		for _, most := range []int{900, 3000, 10_000} {
			synctest.Test(t, func(t *testing.T) {
				svc := &narrow{service: newService(t, shape), most: most}
				r := &rig{t: t, svc: svc.service, sink: svc}
				r.inMemory()
				r.start()
				r.src.sendLong(3000, 100, 50)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := svc.arrived(); got != 3000 || svc.refusals() > 150 { // with strict order, up to 64 are in flight
					t.Errorf("%s, %d bytes: %d of 3000 events arrived, %d requests were refused", name, most, got, svc.refusals())
				}
				large := most+500 <= shape.MaxRecord
				if large {
					r.src.sendLong(1, most+500, 50) // k0
				}
				r.src.sendLong(600, 100, 50)
				time.Sleep(time.Minute)
				synctest.Wait()
				for key, want := range r.src.n {
					if got := svc.seenOf(key); got < want && wal.LaneOf(key) != wal.LaneOf("k0") {
						t.Errorf("%s, %d bytes: key %s: %d of %d events arrived", name, most, key, got, want)
					}
				}
				if got := r.ship.Report(); large != (got.State == shipper.Blocked && strings.Contains(got.LastError, "413")) {
					t.Errorf("%s, %d bytes: got %+v", name, most, got)
				}
				svc.set(1 << 20)
				if st := r.finish(); st.Dead.Events != 0 {
					t.Errorf("%s, %d bytes: %d events died", name, most, st.Dead.Events)
				}
			})
		}
	}
}

// All requests are rejected for a while: no event becomes a dead letter, few requests are tried, and soon afterwards
// all events have arrived.
func TestCeiling_EveryEventIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &narrow{service: newService(t, kinesisShape())}
		r := &rig{t: t, svc: svc.service, sink: svc}
		r.inMemory()
		r.start()
		r.src.sendLong(2000, 100, 50)
		time.Sleep(10 * time.Minute)
		if n := svc.refusals(); n > 2000 {
			t.Errorf("%d requests in 10 minutes", n)
		}
		svc.set(1 << 20)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if got := svc.arrived(); got != 2000 {
			t.Errorf("%d of 2000 events arrived 40 s afterwards", got)
		}
		if st := r.finish(); st.Dead.Events != 0 {
			t.Errorf("%d events died", st.Dead.Events)
		}
	})
}

func (s *service) seenOf(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

func TestRoomIsWhatFits(t *testing.T) {
	e := wal.Event{Key: "key", Data: []byte(`{"a":"b"}`), Time: 1, Attributes: map[string]string{"x": "y"}}
	for name, s := range shapes() {
		room := s.Room(&e)
		if room <= 0 || room > s.MaxRecord {
			t.Errorf("%s: room %d of %d", name, room, s.MaxRecord)
		}
		more := e
		more.Key += "longer"
		if counts := s.KeyCounts || s.Envelope != nil; counts != (s.Room(&more) < room) {
			t.Errorf("%s: room %d under a longer key, %d before", name, s.Room(&more), room)
		}
	}
}
