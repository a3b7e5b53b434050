package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/wal"
)

const (
	// monitorInterval is the time between two snapshots of the monitor. A snapshot of thousands of streams takes long;
	// the interval is then at least monitorShare times that.
	monitorInterval = 2 * time.Second
	monitorShare    = 50
	// monitorGrace bounds the wait for the last snapshot at the end.
	monitorGrace = time.Second
	// rateSamples snapshots span the time that rates are computed over, and growthSamples that of the WAL's growth.
	rateSamples   = 6  // 10 s
	growthSamples = 31 // a minute
)

// monitor takes snapshots of the agent at intervals. From these it computes rates and finds the problems.
type monitor struct {
	agent   *Agent
	tracker *condition.Tracker
	history history

	mu       sync.Mutex // guards the fields below
	samples  []sample   // the newest last
	problems []admin.Problem
	reload   admin.ReloadStatus
	refusing since // the reason for which appends are not accepted
	dropped  map[cursorKey]*dropCount

	certificates []condition.Certificate // written by run's goroutine alone

	soon chan struct{} // holds one: take a snapshot now
}

// since is a reason and the time at which it began.
type since struct {
	reason string
	at     time.Time
}

// dropCount is a destination's dropped events, and the time of the last snapshot that found more.
type dropCount struct {
	events uint64
	at     time.Time
}

// sample holds the counters of one snapshot.
type sample struct {
	at        time.Time
	walBytes  int64
	appended  map[string]admin.Volume
	delivered map[cursorKey]admin.Volume
	pending   map[cursorKey]uint64 // bytes
}

func newMonitor(a *Agent) *monitor {
	return &monitor{agent: a, tracker: condition.NewTracker(a.logger), dropped: make(map[cursorKey]*dropCount), soon: make(chan struct{}, 1)}
}

// lookSoon requests a snapshot: an operator has changed something.
func (m *monitor) lookSoon() {
	select {
	case m.soon <- struct{}{}:
	default:
	}
}

// run takes snapshots until ctx ends.
func (m *monitor) run(ctx context.Context) {
	for {
		begin := time.Now()
		m.look(begin)
		timer := time.NewTimer(max(monitorInterval, monitorShare*time.Since(begin)))
		select {
		case <-timer.C:
		case <-m.soon:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// look takes a snapshot.
func (m *monitor) look(now time.Time) {
	a := m.agent
	if all, ok := a.certificates(); ok {
		m.mu.Lock()
		m.certificates = all
		m.mu.Unlock()
	}
	status := a.Status()
	volume, _ := a.disk.State()
	facts := condition.Facts{
		Now: now, Status: status, DataDir: a.conf.Load().DataDir, Shortage: a.log.Shortage(),
		LowSpace: a.disk.Rejection() != nil, MinFree: a.conf.Load().WAL.MinFree.Of(volume.Size),
		DropsOldest: a.conf.Load().WAL.OnFull == string(wal.DropOldest),
		UntilFull:   time.Duration(status.WAL.UntilFullSeconds * float64(time.Second)),
		Volume:      volume, Certificates: m.certificates, Dropped: m.lastDrop,
	}
	m.keep(sampleOf(&status, now))
	m.history.add(&status, now)
	problems := m.tracker.Update(condition.Find(&facts), now)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = problems
}

func sampleOf(s *admin.Status, now time.Time) sample {
	smp := sample{
		at: now, walBytes: s.WAL.Bytes, appended: make(map[string]admin.Volume),
		delivered: make(map[cursorKey]admin.Volume), pending: make(map[cursorKey]uint64),
	}
	for i := range s.Streams {
		stream := &s.Streams[i]
		smp.appended[stream.Name] = stream.Appended
		for j := range stream.Destinations {
			d := &stream.Destinations[j]
			key := cursorKey{stream.Name, d.Name}
			smp.delivered[key], smp.pending[key] = d.Delivered, d.Pending.Bytes
		}
	}
	return smp
}

// keep stores the newest sample.
func (m *monitor) keep(s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.samples = append(m.samples, s); len(m.samples) > growthSamples {
		m.samples = append(m.samples[:0], m.samples[1:]...)
	}
	if n := len(m.samples); n > rateSamples { // older ones are needed for the size of the WAL alone
		old := &m.samples[n-rateSamples-1]
		old.appended, old.delivered, old.pending = nil, nil, nil
	}
}

// noteDropsLocked updates the time of the last drop at each destination.
func (m *monitor) noteDropsLocked(s *admin.Status, now time.Time) {
	for i := range s.Streams {
		for j := range s.Streams[i].Destinations {
			d := &s.Streams[i].Destinations[j]
			key := cursorKey{s.Streams[i].Name, d.Name}
			events := d.Dropped.Events - d.Dropped.Reasons[wal.DroppedParked] - d.Dropped.Reasons[wal.DroppedForgotten] // an operator's will
			switch before := m.dropped[key]; {
			case before == nil:
				m.dropped[key] = &dropCount{events: events}
			case events > before.events:
				before.events, before.at = events, now
			}
		}
	}
}

func (m *monitor) lastDrop(stream, destination string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.dropped[cursorKey{stream, destination}]; d != nil {
		return d.at
	}
	return time.Time{}
}

// complete adds the results of the last snapshots to a status.
func (m *monitor) complete(s *admin.Status, now time.Time) {
	reason := m.agent.refusal()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusing.reason != reason {
		m.refusing = since{reason, now}
	}
	s.Accepting = admin.Accepting{OK: reason == "", Reason: reason}
	if reason != "" {
		s.Accepting.Since = admin.Time{Time: m.refusing.at}
	}
	s.Problems, s.Reload = m.problems, m.reload
	for _, c := range m.certificates {
		s.Certificates = append(s.Certificates, admin.CertificateStatus{File: c.File, Expires: admin.Time{Time: c.Expires}})
	}
	m.noteDropsLocked(s, now)
	m.addRatesLocked(s, now)
	m.addGrowthLocked(s, now)
}

// addRatesLocked adds the traffic since the oldest sample that rates are computed over.
func (m *monitor) addRatesLocked(s *admin.Status, now time.Time) {
	if len(m.samples) == 0 {
		return
	}
	old := &m.samples[max(0, len(m.samples)-rateSamples)]
	seconds := now.Sub(old.at).Seconds()
	if seconds <= 0 {
		return
	}
	for i := range s.Streams {
		stream := &s.Streams[i]
		stream.AppendRate = rateOf(old.appended[stream.Name], stream.Appended, seconds)
		for j := range stream.Destinations {
			d := &stream.Destinations[j]
			key := cursorKey{stream.Name, d.Name}
			d.Rate = rateOf(old.delivered[key], d.Delivered, seconds)
			if before, known := old.pending[key]; known && d.Pending.Bytes > before {
				d.UntilFullSeconds = float64(roomOf(s, stream)) / float64(d.Pending.Bytes-before) * seconds
			}
		}
	}
}

// roomOf returns the bytes that a stream's backlog may still grow by.
func roomOf(s *admin.Status, stream *admin.StreamStatus) int64 {
	room := s.WAL.MaxBytes - s.WAL.Bytes
	if stream.MaxBytes > 0 {
		room = min(room, stream.MaxBytes-stream.HeldBytes)
	}
	return max(room, 0)
}

func rateOf(before, now admin.Volume, seconds float64) admin.Rate {
	if now.Events < before.Events || now.Bytes < before.Bytes {
		return admin.Rate{}
	}
	return admin.Rate{Events: float64(now.Events-before.Events) / seconds, Bytes: float64(now.Bytes-before.Bytes) / seconds}
}

// addGrowthLocked adds the time until the WAL is full at the growth of the last minute.
func (m *monitor) addGrowthLocked(s *admin.Status, now time.Time) {
	if len(m.samples) < growthSamples {
		return
	}
	old := &m.samples[0]
	grown, left := float64(s.WAL.Bytes-old.walBytes), float64(s.WAL.MaxBytes-s.WAL.Bytes)
	if seconds := now.Sub(old.at).Seconds(); grown > 0 && left > 0 && seconds > 0 {
		s.WAL.UntilFullSeconds = left / grown * seconds
	}
}

// reloaded notes the result of a reload.
func (m *monitor) reloaded(changed admin.ReloadChanges, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reload = admin.ReloadStatus{At: admin.Time{Time: time.Now()}, OK: err == nil, Changes: changed}
	if err != nil {
		m.reload.Error = err.Error()
	}
}

// refusal returns the reason for which appends are not accepted; empty: they are.
func (a *Agent) refusal() string {
	switch {
	case a.log.Failed() != nil:
		return "failed"
	case a.stopping.isSet():
		return "draining"
	case !a.running.isSet():
		return "starting"
	case a.disk.Rejection() != nil:
		return "min_free"
	case a.conf.Load().WAL.OnFull != string(wal.DropOldest):
		return string(a.log.Shortage())
	}
	return ""
}

// Ready returns an error if events are not accepted, or will soon not be.
func (a *Agent) Ready() error {
	switch reason := a.refusal(); reason {
	case "":
		if a.draining.isSet() {
			return errStopping
		}
		return nil
	case "failed":
		return a.log.Failed()
	case "draining":
		return errStopping
	case "starting":
		return errors.New("the agent is starting")
	case "min_free":
		return errors.New("the disk has less free space than min_free")
	case string(wal.FullDisk):
		return errors.New("the disk is full")
	default:
		return errors.New("the log is full")
	}
}

// accepting returns an error if no event may be appended. A full WAL rejects each append itself.
func (a *Agent) accepting() error {
	if a.stopping.isSet() {
		return errStopping
	}
	return a.log.Failed()
}

// certificates returns the certificates of all listeners. It reports false while a reload or the stop changes them.
func (a *Agent) certificates() (all []condition.Certificate, ok bool) {
	if !a.mu.TryLock() {
		return nil, false
	}
	defer a.mu.Unlock()
	add := func(s *security) {
		if s.certificate != nil {
			file, expires := s.certificate.Expiry()
			all = append(all, condition.Certificate{File: file, Expires: expires})
		}
	}
	add(&a.adminSecurity)
	for _, l := range a.listeners.bound {
		add(&l.security)
	}
	slices.SortFunc(all, func(a, b condition.Certificate) int { return strings.Compare(a.File, b.File) })
	return slices.Compact(all), true
}
