package shipper_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// failing is a service whose next requests fail.
type failing struct {
	*tally
	next []shipper.Error
}

func (f *failing) Send(ctx context.Context, records []shipper.Record) shipper.Response {
	f.mu.Lock()
	if len(f.next) > 0 {
		failure := f.next[0]
		f.next = f.next[1:]
		f.mu.Unlock()
		return shipper.Response{Err: &failure, Code: "400"}
	}
	f.mu.Unlock()
	return f.tally.Send(ctx, records)
}

// shipTo ships 20 events to the service.
func shipTo(t *testing.T, svc *failing, retry shipper.Retry) (log *wal.Log, place *wal.Cursor, ship *shipper.Shipper, done chan error) {
	t.Helper()
	log, err := wal.Open(context.Background(), wal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	place, _ = log.OpenCursor("s", "d")
	svc.tally = &tally{service: newService(t, firehoseShape()), stored: make(map[string]bool)}
	ship = shipper.New(shipper.Options{Source: log, Cursor: place, Sink: svc, Retry: retry})
	done = make(chan error, 1)
	go func() { done <- ship.Run(context.Background()) }()
	b := &wal.Batch{Stream: "s"}
	for i := range 20 {
		b.Events = append(b.Events, wal.Event{Key: fmt.Sprint("k", i), Data: fmt.Appendf(nil, "%0100d", i), Time: 1})
	}
	if _, err := log.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	return log, place, ship, done
}

func endShip(t *testing.T, log *wal.Log, ship *shipper.Shipper, done chan error) {
	t.Helper()
	ship.Finish()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// Retry ends the delay of a blocked destination.
func TestRetry_EndsTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &failing{next: []shipper.Error{{Class: shipper.Operator, Code: "no", Record: -1, RetryAfter: time.Hour}}}
		log, place, ship, done := shipTo(t, svc, shipper.Retry{})
		time.Sleep(20 * time.Minute)
		if got := ship.Report(); got.State != shipper.Blocked {
			t.Fatalf("got %+v, want blocked", got)
		}
		ship.Retry()
		time.Sleep(time.Minute)
		if st := place.Stat(); st.Delivered.Events != 20 {
			t.Errorf("got %+v, want all delivered", st)
		}
		endShip(t, log, ship, done)
	})
}

// A failure that passes by itself at first, and needs an operator if it lasts, blocks the destination after a few
// requests, with the remedy. The requests go on as before.
func TestReport_LastingFailureIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expired := shipper.Error{Class: shipper.Transient, Code: "ExpiredToken", Text: "expired", Record: -1, Remedy: "renew it", RetryAfter: time.Minute}
		svc := &failing{next: []shipper.Error{expired, expired, expired}}
		log, place, ship, done := shipTo(t, svc, shipper.Retry{})
		time.Sleep(90 * time.Second)
		if got := ship.Report(); got.State != shipper.Waiting || got.LastError != "ExpiredToken: expired" {
			t.Errorf("got %+v after two failures, want it waiting", got)
		}
		time.Sleep(time.Minute)
		if got := ship.Report(); got.State != shipper.Blocked || got.LastError != "ExpiredToken: expired; renew it" {
			t.Errorf("got %+v after three failures, want it blocked with the remedy", got)
		}
		time.Sleep(time.Minute)
		if st := place.Stat(); st.Delivered.Events != 20 || ship.Report().State != shipper.Running {
			t.Errorf("got %+v, want all delivered", st)
		}
		endShip(t, log, ship, done)
	})
}
