package shipper_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// narrowband is a service behind a link of that many bytes a second, which carries one request after the other.
type narrowband struct {
	*service
	rate int
	line chan struct{} // holds one: the link is in use
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
