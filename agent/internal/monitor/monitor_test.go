package monitor_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/agent/internal/monitor"
	"github.com/standpipe/standpipe/wal"
)

// agent is an agent with one destination.
type agent struct {
	*monitor.Monitor

	mu          sync.Mutex // guards the fields below
	refusal     string
	counters    func() (admin.WALStatus, admin.StreamStatus, admin.DestinationStatus)
	certificate []condition.Certificate
	changing    bool // the certificates are
	looks       int
}

// watched calls test in a bubble with a monitor that runs.
func watched(t *testing.T, test func(t *testing.T, a *agent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &agent{counters: func() (w admin.WALStatus, s admin.StreamStatus, d admin.DestinationStatus) { return w, s, d }}
		a.Monitor = monitor.New(monitor.Source{
			Facts: func() condition.Facts {
				a.set(func() { a.looks++ })
				return condition.Facts{Status: a.status()}
			},
			Certificates: func() ([]condition.Certificate, bool) {
				a.mu.Lock()
				defer a.mu.Unlock()
				return a.certificate, !a.changing
			},
		}, hclog.NewNullLogger())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.Run(ctx)
		synctest.Wait()
		test(t, a)
	})
}

func (a *agent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *agent) status() admin.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var s admin.Status
	var stream admin.StreamStatus
	var d admin.DestinationStatus
	s.WAL, stream, d = a.counters()
	stream.Name, d.Name = "clicks", "live"
	stream.Destinations = []admin.DestinationStatus{d}
	s.Streams = []admin.StreamStatus{stream}
	a.Complete(&s, a.refusal, time.Now())
	return s
}

func (a *agent) has(kind string) bool {
	return slices.ContainsFunc(a.status().Problems, func(p admin.Problem) bool { return p.Kind == kind })
}

// pass waits for the snapshots of that time.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Rates are those of the last seconds. The times until the log is full follow the growth of the backlog and of the log.
func TestMonitor_Rates(t *testing.T) {
	watched(t, func(t *testing.T, a *agent) {
		begin := time.Now()
		counters := func() (w admin.WALStatus, s admin.StreamStatus, d admin.DestinationStatus) {
			seconds := min(uint64(time.Since(begin)/time.Second), 3600) // the traffic ends after an hour
			w.Bytes, w.MaxBytes = int64(seconds)*1000, 7_200_000
			s.Appended = admin.Volume{Events: 30 * seconds, Bytes: 3000 * seconds}
			d.Delivered = admin.Volume{Events: 20 * seconds, Bytes: 2000 * seconds}
			d.Pending.Bytes = 1000 * seconds
			return w, s, d
		}
		a.set(func() { a.counters = counters })
		pass(30 * time.Second)
		if got := a.status(); got.WAL.UntilFullSeconds != 0 {
			t.Errorf("before a minute has passed: got %v s until the log is full", got.WAL.UntilFullSeconds)
		}
		pass(time.Hour - 30*time.Second)
		s := a.status()
		stream := s.Streams[0]
		d := stream.Destinations[0]
		if stream.AppendRate != (admin.Rate{Events: 30, Bytes: 3000}) || d.Rate != (admin.Rate{Events: 20, Bytes: 2000}) {
			t.Errorf("got %+v in and %+v out", stream.AppendRate, d.Rate)
		}
		if s.WAL.UntilFullSeconds != 3600 || d.UntilFullSeconds != 3600 {
			t.Errorf("got %v s and %v s until the log is full, want an hour", s.WAL.UntilFullSeconds, d.UntilFullSeconds)
		}
		if points := a.History().All; len(points) != 60 || points[59].In != 30 || points[59].Out != 20 {
			t.Errorf("got a history of %d points: %v", len(points), points)
		}

		pass(12 * time.Second)
		if stream := a.status().Streams[0]; stream.AppendRate != (admin.Rate{}) || stream.Destinations[0].UntilFullSeconds != 0 {
			t.Errorf("after the traffic: got %+v", stream)
		}
	})
}

// The bytes of a day are those of the last hour, or those since the start after a minute.
func TestMonitor_BytesOfADay(t *testing.T) {
	watched(t, func(t *testing.T, a *agent) {
		begin := time.Now()
		rate := int64(1000) // bytes a second in the log
		written := func() (w admin.WALStatus, s admin.StreamStatus, d admin.DestinationStatus) {
			w.Written = rate * int64(time.Since(begin)/time.Second)
			w.DeviceWritten = 2 * w.Written
			return w, s, d
		}
		a.set(func() { a.counters = written })
		for _, step := range []struct {
			after time.Duration
			want  float64
		}{{30 * time.Second, 0}, {30 * time.Second, 86.4e6}, {3 * time.Hour, 86.4e6}} {
			pass(step.after)
			if got := a.status(); got.WAL.WrittenPerDay != step.want || got.WAL.DeviceWrittenPerDay != 2*step.want {
				t.Errorf("after %s: got %v and %v bytes a day, want %v", time.Since(begin), got.WAL.WrittenPerDay, got.WAL.DeviceWrittenPerDay, step.want)
			}
		}
		idle := a.status().WAL
		a.set(func() {
			a.counters = func() (w admin.WALStatus, s admin.StreamStatus, d admin.DestinationStatus) {
				return idle, s, d
			}
		})
		pass(2 * time.Hour)
		if got := a.status(); got.WAL.WrittenPerDay != 0 {
			t.Errorf("got %v bytes a day after two hours without traffic", got.WAL.WrittenPerDay)
		}
	})
}

// A drop is a problem for a minute, unless an operator wanted it. So a destination that is parked is none.
func TestMonitor_Drops(t *testing.T) {
	watched(t, func(t *testing.T, a *agent) {
		reasons := admin.Reasons{}
		counters := func() (w admin.WALStatus, s admin.StreamStatus, d admin.DestinationStatus) {
			d.Dropped.Reasons = reasons
			for _, n := range reasons {
				d.Dropped.Events += n
			}
			return w, s, d
		}
		a.set(func() { a.counters = counters })
		for _, step := range []struct {
			reason string
			want   bool
		}{{wal.DroppedParked, false}, {wal.DroppedFull, true}, {wal.DroppedForgotten, false}, {wal.DroppedAge, true}} {
			a.set(func() { reasons[step.reason] = 5 })
			pass(4 * time.Second)
			if got := a.has("dropping"); got != step.want {
				t.Errorf("%s: got a problem: %v, want %v", step.reason, got, step.want)
			}
			pass(time.Minute)
			if a.has("dropping") {
				t.Errorf("%s: the problem is still there after a minute", step.reason)
			}
		}
	})
}

// The last certificates are in the status while a reload changes them.
func TestMonitor_CertificatesDuringAReload(t *testing.T) {
	watched(t, func(t *testing.T, a *agent) {
		a.set(func() {
			a.certificate = []condition.Certificate{{File: "cert.pem", Expires: time.Now().Add(time.Hour)}}
		})
		pass(4 * time.Second)
		a.set(func() { a.certificate, a.changing = nil, true })
		pass(4 * time.Second)
		if got := a.status().Certificates; len(got) != 1 || got[0].File != "cert.pem" || !a.has("certificate_expiring") {
			t.Errorf("during the reload: got %+v", got)
		}
		a.set(func() { a.changing = false })
		pass(4 * time.Second)
		if got := a.status().Certificates; len(got) != 0 || a.has("certificate_expiring") {
			t.Errorf("after the reload: got %+v", got)
		}
	})
}

// A status has the time since which events are refused, for the present reason.
func TestMonitor_RefusingSince(t *testing.T) {
	watched(t, func(t *testing.T, a *agent) {
		for _, reason := range []string{"starting", "", "wal_full", "min_free", ""} {
			a.set(func() { a.refusal = reason })
			want := admin.Accepting{OK: reason == "", Reason: reason}
			if reason != "" {
				want.Since.Time = time.Now()
			}
			for range 3 {
				if got := a.status().Accepting; got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				pass(5 * time.Second)
			}
		}
	})
}

// A snapshot that is requested does not wait for the interval.
func TestMonitor_LooksSoon(t *testing.T) {
	watched(t, func(t *testing.T, a *agent) {
		before := a.looks
		a.LookSoon()
		synctest.Wait()
		if a.looks != before+1 {
			t.Errorf("got %d snapshots, want one", a.looks-before)
		}
	})
}
