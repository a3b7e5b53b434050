package shipper_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// narrowband is a service behind a link of that many bytes a second, which carries one request after the other.
type narrowband struct {
	*service
	rate        int
	line        chan struct{} // holds one: the link is in use
	compression shipper.Compression
}

func (n *narrowband) Shape() shipper.Shape {
	shape := n.service.Shape()
	shape.Compression = n.compression
	return shape
}

// overhead is the bytes of a request beside its records.
const overhead = 900

func (n *narrowband) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	bytes := overhead
	for _, r := range batch {
		bytes += len(r.Data) * 4 / 3
	}
	began := time.Now()
	late := &shipper.Error{Class: shipper.Transient, Code: shipper.CodeTimeout, Record: -1}
	select {
	case n.line <- struct{}{}:
		defer func() { <-n.line }()
	case <-ctx.Done():
		return shipper.Response{Err: late, Sent: bytes, Acked: 1, Moving: time.Since(began)}
	}
	carried := time.Now()
	select {
	case <-time.After(time.Duration(bytes) * time.Second / time.Duration(n.rate)):
	case <-ctx.Done():
		acked := int(time.Since(carried).Seconds() * float64(n.rate))
		return shipper.Response{Err: late, Sent: bytes, Acked: acked, Moving: time.Since(began)}
	}
	moving := time.Since(began)
	if n.compression != shipper.Plain {
		for i := range batch {
			batch[i].Data = plain(n.t, n.compression, batch[i].Data)
		}
	}
	response := n.service.Send(ctx, batch)
	response.Sent = bytes
	if moving >= time.Second {
		response.Acked, response.Moving = bytes, moving
	}
	return response
}

// The first request to an endpoint is small enough for a link of 8 kbit/s, so that no event arrives twice. All of them need
// little more than the time of their bytes.
func TestSlowLink_FirstRequestGetsThrough(t *testing.T) {
	for name, shape := range map[string]shipper.Shape{"kinesis": kinesisShape(), "firehose": firehoseShape()} {
		shape.BatchRecords, shape.MaxBatch, shape.AimBatch = 500, 4<<20, 4<<20
		synctest.Test(t, func(t *testing.T) {
			svc := &narrowband{service: newService(t, shape), rate: 1000, line: make(chan struct{}, 1)}
			failed := 0
			r := &rig{t: t, svc: svc.service, opts: shipper.Options{Link: shipper.NewLink(0)}}
			r.sink = &watched{svc, func(response shipper.Response) {
				if response.Err != nil {
					failed++
				}
			}}
			r.inMemory()
			r.src.sendLong(600, 200, 20)
			began := time.Now()
			r.start()
			ideal := 600 * 200 * 4 / 3 * time.Millisecond
			for svc.arrived() < 600 && time.Since(began) < 2*ideal {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(began); took > ideal*5/4 || failed > 0 {
				t.Errorf("%s: %d of 600 events after %s, %d requests failed; want all after %s and no failure", name, svc.arrived(), took, failed, ideal*5/4)
			}
			r.finish()
		})
	}
}

// Compressed requests to a slow link carry as many bytes as others do, so they are few.
func TestSlowLink_CompressedRequestsAreFew(t *testing.T) {
	shape := wholeFirehose()
	shape.RecordEvents = 0
	synctest.Test(t, func(t *testing.T) {
		svc := &narrowband{service: newService(t, shape), rate: 1000, line: make(chan struct{}, 1), compression: shipper.Gzip}
		requests, sent := 0, 0
		r := &rig{t: t, svc: svc.service, opts: shipper.Options{Link: shipper.NewLink(0)}}
		r.sink = &watched{svc, func(response shipper.Response) {
			requests++
			sent += response.Sent
			if response.Err != nil || response.Moving > 11*time.Second {
				t.Errorf("request %d of %d bytes took %s: %v", requests, response.Sent, response.Moving, response.Err)
			}
		}}
		r.inMemory()
		r.src.noise = rand.New(rand.NewPCG(1, 1))
		r.src.sendLong(3000, 200, 20)
		r.start()
		for began := time.Now(); svc.arrived() < 3000 && time.Since(began) < 10*time.Minute; {
			time.Sleep(100 * time.Millisecond)
		}
		r.finish()
		t.Logf("%d requests, %d bytes", requests, sent)
		if most := sent/(6<<10) + 4; requests > most { // the first ones are small
			t.Errorf("got %d requests for %d bytes, want at most %d", requests, sent, most)
		}
	})
}

// watched is a sink whose responses are noted, one at a time.
type watched struct {
	*narrowband
	note func(shipper.Response)
}

func (w *watched) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	response := w.narrowband.Send(ctx, batch)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(response)
	return response
}

// After an outage the link may be another one, for example a modem's of 8 kbit/s instead of Ethernet. The first request is small
// enough for it, and the backlog needs little more than the time and the bytes of its records in base64.
func TestSlowLink_AfterAnOutage(t *testing.T) {
	for name, shape := range map[string]shipper.Shape{"kinesis": kinesisShape(), "firehose": firehoseShape()} {
		shape.BatchRecords, shape.MaxBatch, shape.AimBatch = 500, 4<<20, 4<<20
		for rate, most := range map[int]float64{1000: 1.6, 32_000: 1.5} { // sent bytes for one of payload
			synctest.Test(t, func(t *testing.T) {
				svc := &narrowband{service: newService(t, shape), rate: 10 << 20, line: make(chan struct{}, 1)}
				failed, sent := 0, 0
				var away atomic.Bool
				r := &rig{t: t, svc: svc.service, opts: shipper.Options{Link: shipper.NewLink(0)}}
				r.sink = &interrupted{&watched{svc, func(response shipper.Response) {
					if sent += response.Sent; response.Err != nil {
						failed++
					}
				}}, &away}
				r.inMemory()
				r.start()
				for range 5 { // the link is fast
					r.src.sendLong(2000, 200, 20)
					time.Sleep(time.Second)
				}
				time.Sleep(5 * time.Second)
				away.Store(true)
				events := max(600, 200*rate/1000)
				r.src.sendLong(events, 200, 20)
				time.Sleep(time.Minute)
				svc.mu.Lock()
				svc.rate, failed, sent = rate, 0, 0
				svc.mu.Unlock()
				away.Store(false)
				ideal, began := time.Duration(events*200*4/3)*time.Second/time.Duration(rate), time.Now()
				for svc.arrived() < 10_000+events && time.Since(began) < 2*ideal {
					time.Sleep(100 * time.Millisecond)
				}
				took := time.Since(began)
				t.Logf("%s, %d bytes/s: all after %s, %.2f bytes for one of the payload", name, rate, took, float64(sent)/float64(events*200))
				if latest := ideal*5/4 + 10*time.Second; took > latest || failed > 0 || float64(sent) > most*float64(events*200) { // the end of the outage is noticed in 7.5 s
					t.Errorf("%s, %d bytes/s: %d of %d events after %s with %d bytes, %d requests failed; want all after %s, and no failure",
						name, rate, svc.arrived()-10_000, events, took, sent, failed, latest)
				}
				r.finish()
			})
		}
	}
}

// interrupted is a service that may be out of reach.
type interrupted struct {
	*watched
	away *atomic.Bool
}

func (i *interrupted) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	if i.away.Load() {
		return shipper.Response{Err: &shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1, Unreached: true}, Code: "connection"}
	}
	return i.watched.Send(ctx, batch)
}

// A backlog of 120 KB gets through a link of any speed, in at most about twice the time that its bytes need.
func TestSlowLink_BacklogGetsThrough(t *testing.T) {
	for name, shape := range map[string]shipper.Shape{"kinesis": kinesisShape(), "firehose": firehoseShape()} {
		for _, rate := range []int{300, 1000, 2000, 32_000} {
			synctest.Test(t, func(t *testing.T) {
				svc := &narrowband{service: newService(t, shape), rate: rate, line: make(chan struct{}, 1)}
				r := &rig{t: t, svc: svc.service, sink: svc}
				r.inMemory()
				r.start()
				r.src.sendLong(600, 200, 20)
				ideal := time.Duration(600*200*4/3/rate) * time.Second
				began := time.Now()
				for svc.arrived() < 600 && time.Since(began) < 10*ideal+time.Minute {
					time.Sleep(100 * time.Millisecond)
				}
				if got, want := time.Since(began), 2*ideal+40*time.Second; got > want || svc.arrived() < 600 {
					t.Errorf("%s, %d bytes/s: %d of 600 events after %s, want all of them after %s", name, rate, svc.arrived(), got, want)
				}
				r.finish()
			})
		}
	}
}
