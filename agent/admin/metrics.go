package admin

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// MaxRefusedStreams is the number of streams whose rejected events are counted by name.
const MaxRefusedStreams = 1000

// RefusedFull is the reason of rejections for lack of space. It is exported at zero for every stream, so that an alert on its
// rate notices the first one.
const RefusedFull = "full"

// retryReasons are the retryable classes of package shipper. They are exported at zero.
var retryReasons = []string{"transient", "throttled", "operator"}

var (
	// From half of a fast flash sync up to the timeout of a request.
	secondsBuckets = []float64{
		.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
	}
	eventsBuckets = prometheus.ExponentialBuckets(1, 4, 9) // 1 to 65,536
)

// Metrics counts appends, commits, requests and rejections since the start of the process. Its methods may be called
// concurrently.
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

// NewMetrics returns a Metrics with its own registry, which includes the metrics of the Go runtime and the process.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		appends:      secondsVec("append_seconds", "Time from an append's arrival to its response.", "listener"),
		commits:      prometheus.NewHistogram(histogram("commit_seconds", "Time of a commit of the WAL, including syncs.", secondsBuckets)),
		commitEvents: prometheus.NewHistogram(histogram("commit_events", "Events of one commit of the WAL.", eventsBuckets)),
		requestTime:  secondsVec("destination_request_seconds", "Time of a request to a destination.", "stream", "destination"),
		requests:     counterVec("destination_requests_total", "Requests to a destination, by the code of the response.", "stream", "destination", "code"),
		retries:      counterVec("retries_total", "Records sent again to a destination, by reason.", "stream", "destination", "reason"),
		refused:      counterVec("refused_events_total", "Events rejected at ingest, by reason.", "stream", "reason"),
		lost:         counterVec("accepted_lost_events_total", "Events acknowledged as accepted and not stored.", "stream"),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "standpipe", Name: "connections", Help: "Open connections, by the type of listener.",
		}, []string{"listener"}),
		turnedAway: counterVec("connections_turned_away_total", "Connections rejected at the limit of their listener.", "listener"),
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

// Appended counts an append with a response after d.
func (m *Metrics) Appended(listener string, d time.Duration) {
	m.appends.WithLabelValues(label(listener)).Observe(d.Seconds())
}

// Commit counts a commit of the WAL.
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

// Refused counts events rejected at ingest. A name without a stream is counted as "", and so is every new name after the first
// MaxRefusedStreams. The reason is a fixed word.
func (m *Metrics) Refused(stream, reason string, events int) {
	events = max(events, 0)
	stream = m.countRefused(stream, uint64(events))
	m.refused.WithLabelValues(label(stream), label(reason)).Add(float64(events))
}

// Lost counts events acknowledged as accepted and not stored. The caller counts them as refused too.
func (m *Metrics) Lost(stream string, events int) {
	stream = m.countRefused(stream, 0)
	m.lost.WithLabelValues(label(stream)).Add(float64(max(events, 0)))
}

// Connected counts an opened (1) or closed (-1) connection of listener.
func (m *Metrics) Connected(listener string, change int) {
	m.connections.WithLabelValues(label(listener)).Add(float64(change))
}

// TurnedAway counts a connection rejected at the limit of listener.
func (m *Metrics) TurnedAway(listener string) { m.turnedAway.WithLabelValues(label(listener)).Inc() }

// countRefused adds events to the count of stream, or of "" beyond MaxRefusedStreams, and returns that name.
func (m *Metrics) countRefused(stream string, events uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.refusedBy[stream]; !known && len(m.refusedBy) >= MaxRefusedStreams {
		stream = ""
	}
	m.refusedBy[stream] += events
	return stream
}

// RefusedEvents returns the number of rejected events of a stream.
func (m *Metrics) RefusedEvents(stream string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refusedBy[stream]
}

// prime adds the missing counters of the streams and destinations of s, at zero; with basic, those of the sums over all
// streams.
func (m *Metrics) prime(s Status, basic bool) {
	for _, stream := range s.Streams {
		name := ""
		if !basic {
			name = label(stream.Name)
			m.refused.WithLabelValues(name, RefusedFull)
			m.lost.WithLabelValues(name)
		}
		for _, d := range stream.Destinations {
			m.requestTime.WithLabelValues(name, label(d.Name))
			for _, reason := range retryReasons {
				m.retries.WithLabelValues(name, label(d.Name), reason)
			}
		}
	}
}

// label makes s valid UTF-8: the Prometheus client panics otherwise.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
