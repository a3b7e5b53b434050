package admin

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// MaxRefusedStreams is how many streams' refusals are counted by name.
const MaxRefusedStreams = 1000

// RefusedFull is the reason of a refusal for lack of room. It is told as zero for every stream
// before it happens, so that an alert on its rate sees the first one.
const RefusedFull = "full"

// The reasons of a retry, as shipper's classes are called; told as zero before they happen.
var retryReasons = []string{"transient", "throttled", "operator"}

var (
	// From half of a fast flash sync to a request that is about to time out.
	secondsBuckets = []float64{
		.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
	}
	eventsBuckets = prometheus.ExponentialBuckets(1, 4, 9) // 1 to 65,536
)

// Metrics counts what exists only in motion, since the start of the process. Its methods may be
// called from several goroutines at once.
type Metrics struct {
	registry *prometheus.Registry

	appends      *prometheus.HistogramVec
	commits      prometheus.Histogram
	commitEvents prometheus.Histogram
	requestTime  *prometheus.HistogramVec
	requests     *prometheus.CounterVec
	retries      *prometheus.CounterVec
	refused      *prometheus.CounterVec
	lost         *prometheus.CounterVec
	connections  *prometheus.GaugeVec
	turnedAway   *prometheus.CounterVec

	mu        sync.Mutex
	refusedBy map[string]uint64 // by stream; guarded by mu
}

// NewMetrics makes a Metrics with a registry of its own, which also holds the Go runtime's and the
// process's metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		appends:      secondsVec("append_seconds", "Time from an append's arrival to its reply.", "listener"),
		commits:      prometheus.NewHistogram(histogram("commit_seconds", "Time of a commit of the log, syncs included.", secondsBuckets)),
		commitEvents: prometheus.NewHistogram(histogram("commit_events", "Events that shared a commit of the log.", eventsBuckets)),
		requestTime:  secondsVec("destination_request_seconds", "Time of a request to a destination.", "stream", "destination"),
		requests:     counterVec("destination_requests_total", "Requests to a destination by the code of the answer.", "stream", "destination", "code"),
		retries:      counterVec("retries_total", "Records that were sent to a destination again, by why.", "stream", "destination", "reason"),
		refused:      counterVec("refused_events_total", "Events that were refused at ingest, by why.", "stream", "reason"),
		lost:         counterVec("accepted_lost_events_total", "Events that were answered as accepted and are not stored.", "stream"),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "standpipe", Name: "connections", Help: "Connections that are open, by the type of their listener.",
		}, []string{"listener"}),
		turnedAway: counterVec("connections_turned_away_total", "Connections for which a listener had no room.", "listener"),
		refusedBy:  make(map[string]uint64),
	}
	m.registry.MustRegister(m.appends, m.commits, m.commitEvents, m.requestTime, m.requests, m.retries, m.refused, m.lost, m.connections, m.turnedAway,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Namespace: "standpipe", Name: name, Help: help, Buckets: buckets}
}

func secondsVec(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogram(name, help, secondsBuckets), labels)
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "standpipe", Name: name, Help: help}, labels)
}

// Appended counts an append that listener has answered after d.
func (m *Metrics) Appended(listener string, d time.Duration) {
	m.appends.WithLabelValues(label(listener)).Observe(d.Seconds())
}

// Commit counts a commit of the log.
func (m *Metrics) Commit(events int, d time.Duration) {
	m.commits.Observe(d.Seconds())
	m.commitEvents.Observe(float64(events))
}

// Request counts a request to a destination. The code is an HTTP status or a fixed word.
func (m *Metrics) Request(stream, destination, code string, d time.Duration) {
	stream, destination = label(stream), label(destination)
	m.requests.WithLabelValues(stream, destination, label(code)).Inc()
	m.requestTime.WithLabelValues(stream, destination).Observe(d.Seconds())
}

// Retried counts records that will be sent again. The reason is a fixed word.
func (m *Metrics) Retried(stream, destination, reason string, records int) {
	m.retries.WithLabelValues(label(stream), label(destination), label(reason)).Add(float64(max(records, 0)))
}

// Refused counts events that were refused at ingest. A name that matches no stream is counted as
// "", and so is any new name once MaxRefusedStreams are known. The reason is a fixed word.
func (m *Metrics) Refused(stream, reason string, events int) {
	events = max(events, 0)
	stream = m.countRefused(stream, uint64(events))
	m.refused.WithLabelValues(label(stream), label(reason)).Add(float64(events))
}

// Lost counts events that were answered as accepted and are not stored. They count as refused beside.
func (m *Metrics) Lost(stream string, events int) {
	stream = m.countRefused(stream, 0)
	m.lost.WithLabelValues(label(stream)).Add(float64(max(events, 0)))
}

// Connected counts a connection of listener that was opened (1) or closed (-1).
func (m *Metrics) Connected(listener string, change int) {
	m.connections.WithLabelValues(label(listener)).Add(float64(change))
}

// TurnedAway counts a connection for which listener had no room.
func (m *Metrics) TurnedAway(listener string) { m.turnedAway.WithLabelValues(label(listener)).Inc() }

// countRefused returns the name under which it counted.
func (m *Metrics) countRefused(stream string, events uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.refusedBy[stream]; !known && len(m.refusedBy) >= MaxRefusedStreams {
		stream = ""
	}
	m.refusedBy[stream] += events
	return stream
}

// RefusedEvents returns how many events of a stream were refused.
func (m *Metrics) RefusedEvents(stream string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refusedBy[stream]
}

// prime makes the counters of what s names, at zero, where they are not there yet.
func (m *Metrics) prime(s Status) {
	for _, stream := range s.Streams {
		name := label(stream.Name)
		m.refused.WithLabelValues(name, RefusedFull)
		m.lost.WithLabelValues(name)
		for _, d := range stream.Destinations {
			m.requestTime.WithLabelValues(name, label(d.Name))
			for _, reason := range retryReasons {
				m.retries.WithLabelValues(name, label(d.Name), reason)
			}
		}
	}
}

// label makes s a label's value: Prometheus takes only valid UTF-8 and the client panics otherwise.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
