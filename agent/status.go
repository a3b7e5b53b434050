package agent

import (
	"fmt"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/wal"
)

// stallTimeout is the longest time without progress of a shipper that has work and no error.
const stallTimeout = time.Minute

// Status returns the agent's state. The ledgers in it balance. Its problems agree with whether events are accepted.
func (a *Agent) Status() admin.Status {
	f := a.facts()
	a.monitor.Agree(&f)
	return f.Status
}

// snapshot is Status with the problems of the monitor's last look.
func (a *Agent) snapshot() admin.Status {
	st := a.log.Stat()
	status := admin.Status{
		Agent: admin.AgentStatus{
			ID: a.log.ID(), NodeName: a.conf.Load().NodeName, Version: admin.Version,
			State: a.state(), StartedAt: admin.Time{Time: a.started},
		},
		WAL: admin.WALStatus{
			Bytes: st.Bytes, MaxBytes: st.MaxBytes, Segments: st.Segments, RetainedBytes: st.RetainedBytes, RetainedSegments: st.RetainedSegments, Written: st.Written,
			StateBytes: st.StateBytes, MaxStateBytes: st.MaxStateBytes, StateFull: st.StateFull,
			DeadBytes: st.DeadBytes, MaxDeadBytes: st.MaxDeadBytes,
		},
	}
	if err := a.log.Failed(); err != nil {
		status.WAL.Failed = err.Error()
	}
	status.Link.Sent, status.Link.Received = sink.Traffic()
	volume, setAside := a.disk.State()
	status.WAL.DiskFreeBytes, status.WAL.DiskBytes, status.WAL.SetAside = volume.Free, volume.Size, setAside
	status.WAL.DeviceWritten = a.disk.DeviceWritten()
	status.Access = accessStatus(a.register.Figures())
	for _, s := range a.log.Streams() {
		if s.Appended.Events == 0 && a.streams.tentative(s.Name) {
			continue // it may end with its first batch
		}
		status.Streams = append(status.Streams, a.streamStatus(s))
	}
	a.monitor.Complete(&status, a.refusal(), time.Now())
	return status
}

func (a *Agent) state() string {
	switch {
	case a.log.Failed() != nil:
		return "failed"
	case a.draining.isSet() || a.stopping.isSet():
		return "draining"
	case !a.running.isSet():
		return "starting"
	}
	return "running"
}

func (a *Agent) streamStatus(s wal.StreamStat) admin.StreamStatus {
	routes, leaving := a.streams.routesOf(s.Name)
	st := admin.StreamStatus{Name: s.Name, FirstOffset: s.First}
	st.HeldBytes, st.MaxBytes = a.log.Share(s.Name)
	places := a.log.Cursors(s.Name)
	stats := make([]wal.CursorStat, len(places))
	for i, p := range places {
		stats[i] = p.Stat()
	}
	// One count of appended events for the whole stream. It is read after the cursors, so no ledger is ahead of it.
	appended := a.log.Appended(s.Name)
	st.NextOffset = appended.Events + 1
	st.Appended = volume(appended)
	for i, p := range places {
		stats[i].Grow(appended)
		r := routes[p.Name()]
		if r == nil {
			r = leaving[p.Name()]
		}
		d := destinationStatus(p, stats[i], r, a.conf.Load().Prices)
		d.DeadLetters = a.deadCount.Of(s.Name, d.Name)
		st.Destinations = append(st.Destinations, d)
	}
	return st
}

func accessStatus(known []access.Figures, unknown access.Unknown) (s admin.AccessStatus) {
	for _, f := range known {
		i := admin.IdentityStatus{
			Name: f.Identity, Appended: admin.Volume{Events: f.Events, Bytes: f.Bytes},
			LastAppendAt: admin.Time{Time: f.LastStored}, LastRefusal: refusal(f.LastRefusal),
			Refused: admin.RefusedEvents{Reasons: f.Refused},
		}
		for _, n := range f.Refused {
			i.Refused.Events += n
		}
		s.Identities = append(s.Identities, i)
	}
	s.Unknown = admin.UnknownStatus{Requests: unknown.Requests, LastRefusal: refusal(unknown.LastRefusal)}
	return s
}

func refusal(r access.Refusal) admin.Refusal {
	return admin.Refusal{At: admin.Time{Time: r.At}, Why: r.Why, From: r.From}
}

// routesOf returns the stream's routes, and those that are ending, by the destination's name.
func (s *streams) routesOf(name string) (routes, leaving map[string]*route) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	routes, leaving = make(map[string]*route), make(map[string]*route)
	if open := s.byName[name]; open != nil {
		for _, r := range open.routes {
			routes[r.conf.Name] = r
		}
	}
	for r := range s.leaving {
		if r.stream == name {
			leaving[r.conf.Name] = r
		}
	}
	return routes, leaving
}

func destinationStatus(p *wal.Cursor, st wal.CursorStat, r *route, prices config.Prices) admin.DestinationStatus {
	d := admin.DestinationStatus{
		Type: p.Label(), Name: p.Name(), State: stateOf(&st), Checkpoint: st.Checkpoint,
		Delivered: volume(st.Delivered), Dead: admin.Events{Events: st.Dead.Events},
		Dropped:  dropped(st.Dropped),
		Pending:  admin.Pending{Events: st.Pending.Events, Bytes: st.Pending.Bytes},
		Requests: st.Requests, Records: st.Records, BilledBytes: st.BilledBytes, PutUnits: st.PutUnits,
		LastDeliveryAt: admin.Time{Time: st.LastDelivery},
		ParkedAt:       admin.Time{Time: st.Parking.At}, PausedAt: admin.Time{Time: st.Paused},
	}
	if !st.OldestPending.IsZero() {
		d.Pending.OldestSeconds = max(time.Since(st.OldestPending).Seconds(), 0)
	}
	newest := st.LastDelivery
	switch {
	case d.State == admin.Paused && r != nil:
		d.Type = r.conf.Type
	case r != nil && st.Parking.Next == 0:
		report := r.report()
		d.Type, d.State, d.LastError = r.conf.Type, admin.State(report.State), report.LastError
		d.RetryAt = admin.Time{Time: report.RetryAt}
		d.WaitsFor, d.PaceBytes, d.Shards = string(report.Waits), uint64(report.Pace), report.Shards
		d.CompressionRatio = report.Compression
		d.FailingSince, d.CatchingUpSince, d.SentBytes = admin.Time{Time: report.Since}, admin.Time{Time: report.CatchingUp}, report.Sent
		if report.Newest > 0 {
			newest = time.Unix(0, report.Newest)
		}
	}
	if !newest.IsZero() {
		d.NewestDeliveredSeconds = max(time.Since(newest).Seconds(), 0)
	}
	if amount, ok := prices.Of(d.Type, config.Usage{BilledBytes: float64(d.BilledBytes), Requests: float64(d.Requests), Units: float64(d.PutUnits)}); ok {
		d.Cost = &admin.Cost{Amount: amount, Currency: prices.Currency}
	}
	return d
}

// stateOf returns the state of a destination without a route.
func stateOf(st *wal.CursorStat) admin.State {
	switch {
	case st.Parking.Forgotten:
		return admin.Forgotten
	case st.Parking.Next > 0:
		return admin.Parked
	case !st.Paused.IsZero():
		return admin.Paused
	}
	return admin.Waiting // its stream could not be opened yet
}

func dropped(reasons map[string]wal.Count) admin.Dropped {
	d := admin.Dropped{Reasons: make(admin.Reasons)}
	for reason, c := range reasons {
		d.Events += c.Events
		d.Reasons[reason] = c.Events
	}
	return d
}

func volume(c wal.Count) admin.Volume { return admin.Volume{Events: c.Events, Bytes: c.Bytes} }

// Live returns an error if the process makes no progress.
func (a *Agent) Live() error {
	if err := a.log.Failed(); err != nil {
		return err
	}
	for _, r := range a.streams.all() {
		if r.stalled() {
			return fmt.Errorf("stream %q: destination %q has work and makes no progress", r.stream, r.conf.Name)
		}
	}
	return nil
}
