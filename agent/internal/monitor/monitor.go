package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/wal"
)

const (
	// interval is the time between two snapshots of a Monitor. A snapshot of thousands of streams takes long;
	// the interval is then at least share times that.
	interval = 2 * time.Second
	share    = 50
	// rateSamples snapshots span the time that rates are computed over, and growthSamples that of the WAL's growth.
	rateSamples   = 6  // 10 s
	growthSamples = 31 // a minute
)

// Source is the agent as far as a Monitor looks at it.
type Source struct {
	// Facts returns the present facts, with the status after Complete. The Monitor adds the fields that need earlier snapshots.
	Facts func() condition.Facts
	// Certificates returns the certificates of all listeners. It reports false if they are just changing.
	Certificates func() ([]condition.Certificate, bool)
}

// Monitor takes snapshots of the agent at intervals. From these it computes rates and finds the problems.
type Monitor struct {
	source  Source
	tracker *condition.Tracker
	history history

	mu       sync.Mutex // guards the fields below
	samples  []sample   // the newest last
	hour     hour
	problems []admin.Problem
	reload   admin.ReloadStatus
	refusing since // the reason for which appends are not accepted
	dropped  map[admin.Place]*dropCount

	certificates []condition.Certificate // written by Run's goroutine alone

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
	delivered map[admin.Place]admin.Volume
	pending   map[admin.Place]uint64 // bytes
}

// New returns a Monitor without snapshots. Its problems begin and end with a line in logger.
func New(source Source, logger hclog.Logger) *Monitor {
	return &Monitor{source: source, tracker: condition.NewTracker(logger), dropped: make(map[admin.Place]*dropCount), soon: make(chan struct{}, 1)}
}

// LookSoon requests a snapshot: an operator has changed something.
func (m *Monitor) LookSoon() {
	select {
	case m.soon <- struct{}{}:
	default:
	}
}

// Run takes snapshots until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	for {
		begin := time.Now()
		m.look(begin)
		timer := time.NewTimer(max(interval, share*time.Since(begin)))
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
func (m *Monitor) look(now time.Time) {
	if all, ok := m.source.Certificates(); ok {
		m.mu.Lock()
		m.certificates = all
		m.mu.Unlock()
	}
	facts := m.source.Facts()
	facts.Now, facts.Certificates, facts.Dropped = now, m.certificates, m.lastDrop
	facts.UntilFull = time.Duration(facts.Status.WAL.UntilFullSeconds * float64(time.Second))
	m.keep(sampleOf(&facts.Status, now))
	m.history.add(&facts.Status, now)
	problems := m.tracker.Update(condition.Find(&facts), now)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = problems
	m.hour.add(&facts.Status, now)
}

func sampleOf(s *admin.Status, now time.Time) sample {
	smp := sample{
		at: now, walBytes: s.WAL.Bytes, appended: make(map[string]admin.Volume),
		delivered: make(map[admin.Place]admin.Volume), pending: make(map[admin.Place]uint64),
	}
	for i := range s.Streams {
		stream := &s.Streams[i]
		smp.appended[stream.Name] = stream.Appended
		for j := range stream.Destinations {
			d := &stream.Destinations[j]
			key := admin.Place{Stream: stream.Name, Destination: d.Name}
			smp.delivered[key], smp.pending[key] = d.Delivered, d.Pending.Bytes
		}
	}
	return smp
}

// keep stores the newest sample.
func (m *Monitor) keep(s sample) {
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
func (m *Monitor) noteDropsLocked(s *admin.Status, now time.Time) {
	for i := range s.Streams {
		for j := range s.Streams[i].Destinations {
			d := &s.Streams[i].Destinations[j]
			key := admin.Place{Stream: s.Streams[i].Name, Destination: d.Name}
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

func (m *Monitor) lastDrop(stream, destination string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.dropped[admin.Place{Stream: stream, Destination: destination}]; d != nil {
		return d.at
	}
	return time.Time{}
}

// Complete adds the results of the last snapshots to a status. refusal is the reason for which appends are not accepted; empty:
// they are.
func (m *Monitor) Complete(s *admin.Status, refusal string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusing.reason != refusal {
		m.refusing = since{refusal, now}
	}
	s.Accepting = admin.Accepting{OK: refusal == "", Reason: refusal}
	if refusal != "" {
		s.Accepting.Since = admin.Time{Time: m.refusing.at}
	}
	s.Problems, s.Reload = m.problems, m.reload
	for _, c := range m.certificates {
		s.Certificates = append(s.Certificates, admin.CertificateStatus{File: c.File, Expires: admin.Time{Time: c.Expires}})
	}
	m.noteDropsLocked(s, now)
	m.addRatesLocked(s, now)
	m.addGrowthLocked(s, now)
	m.hour.complete(s, now)
}

// Agree replaces the problems in f.Status that decide the fate of appends by the present ones. An event can be rejected
// before a snapshot finds the reason: the status has it already, and the next snapshot is taken now.
func (m *Monitor) Agree(f *condition.Facts) {
	var differ bool
	if f.Status.Problems, differ = condition.Agree(f.Status.Problems, f); differ {
		m.LookSoon()
	}
}

// addRatesLocked adds the traffic since the oldest sample that rates are computed over.
func (m *Monitor) addRatesLocked(s *admin.Status, now time.Time) {
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
			key := admin.Place{Stream: stream.Name, Destination: d.Name}
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
func (m *Monitor) addGrowthLocked(s *admin.Status, now time.Time) {
	if len(m.samples) < growthSamples {
		return
	}
	old := &m.samples[0]
	grown, left := float64(s.WAL.Bytes-old.walBytes), float64(s.WAL.MaxBytes-s.WAL.Bytes)
	if seconds := now.Sub(old.at).Seconds(); grown > 0 && left > 0 && seconds > 0 {
		s.WAL.UntilFullSeconds = left / grown * seconds
	}
}

// History returns the traffic of the last minutes.
func (m *Monitor) History() admin.History { return m.history.copy() }

// Reloaded notes the result of a reload, and takes a snapshot.
func (m *Monitor) Reloaded(changed admin.ReloadChanges, err error) {
	defer m.LookSoon()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reload = admin.ReloadStatus{At: admin.Time{Time: time.Now()}, OK: err == nil, Changes: changed}
	if err != nil {
		m.reload.Error = err.Error()
	}
}
