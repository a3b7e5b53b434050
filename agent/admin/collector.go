package admin

import (
	"maps"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A column is one metric that is read off a part of the status.
type column[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

func counter[T any](name, help string, value func(T) float64, labels ...string) column[T] {
	return column[T]{desc(name, help, labels...), prometheus.CounterValue, value}
}

func gauge[T any](name, help string, value func(T) float64, labels ...string) column[T] {
	return column[T]{desc(name, help, labels...), prometheus.GaugeValue, value}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("standpipe_"+name, help, labels, nil)
}

func (c column[T]) collect(out chan<- prometheus.Metric, of T, labels ...string) {
	out <- prometheus.MustNewConstMetric(c.desc, c.kind, c.value(of), labels...)
}

var walColumns = []column[WALStatus]{
	gauge("wal_bytes", "Bytes of the log's segments.", func(w WALStatus) float64 { return float64(w.Bytes) }),
	gauge("wal_max_bytes", "Bytes that the log's segments may take.", func(w WALStatus) float64 { return float64(w.MaxBytes) }),
	gauge("wal_state_bytes", "Bytes of the log's state: streams, destinations and producers.", func(w WALStatus) float64 { return float64(w.StateBytes) }),
	gauge("wal_max_state_bytes", "Bytes of state beyond which new streams and producers are rejected.", func(w WALStatus) float64 { return float64(w.MaxStateBytes) }),
	gauge("dead_letters_bytes", "Bytes of the file of dead letters.", func(w WALStatus) float64 { return float64(w.DeadBytes) }),
	gauge("dead_letters_max_bytes", "Bytes that the file of dead letters may take; a letter that does not fit keeps its event in the log.", func(w WALStatus) float64 { return float64(w.MaxDeadBytes) }),
	gauge("wal_segments", "Segments of the log.", func(w WALStatus) float64 { return float64(w.Segments) }),
}

var streamColumns = []column[StreamStatus]{
	counter("appended_events_total", "Events that were stored in the log.",
		func(s StreamStatus) float64 { return float64(s.Appended.Events) }, "stream"),
	counter("appended_bytes_total", "Bytes of the payloads that were stored in the log.",
		func(s StreamStatus) float64 { return float64(s.Appended.Bytes) }, "stream"),
	gauge("stream_held_bytes", "Bytes that the stream holds of its own share of the log: what the destination that is furthest behind has not settled.",
		func(s StreamStatus) float64 { return float64(s.HeldBytes) }, "stream"),
	gauge("stream_max_bytes", "Bytes that the stream may hold; 0 when it has no limit of its own.",
		func(s StreamStatus) float64 { return float64(s.MaxBytes) }, "stream"),
}

var destinationColumns = []column[DestinationStatus]{
	destinationCounter("delivered_events_total", "Events that the destination has acknowledged.",
		func(d DestinationStatus) float64 { return float64(d.Delivered.Events) }),
	destinationCounter("delivered_bytes_total", "Bytes of the payloads that the destination has acknowledged.",
		func(d DestinationStatus) float64 { return float64(d.Delivered.Bytes) }),
	destinationCounter("dead_events_total", "Events that the destination refused for good and that were dead-lettered.",
		func(d DestinationStatus) float64 { return float64(d.Dead.Events) }),
	destinationCounter("destination_records_total", "Records that the destination has stored.",
		func(d DestinationStatus) float64 { return float64(d.Records) }),
	destinationCounter("destination_billed_bytes_total", "Bytes that the destination's service bills for.",
		func(d DestinationStatus) float64 { return float64(d.BilledBytes) }),
	destinationCounter("destination_put_units_total", "Put payload units that the destination's service bills for.",
		func(d DestinationStatus) float64 { return float64(d.PutUnits) }),
	destinationGauge("pending_events", "Events that wait for the destination.",
		func(d DestinationStatus) float64 { return float64(d.Pending.Events) }),
	destinationGauge("pending_bytes", "Bytes of the payloads that wait for the destination.",
		func(d DestinationStatus) float64 { return float64(d.Pending.Bytes) }),
	destinationGauge("destination_pace_bytes", "Bytes of records a second that the destination's shards may take now; 0: there is no limit.",
		func(d DestinationStatus) float64 { return float64(d.PaceBytes) }),
	destinationGauge("destination_shards", "Open shards of the destination that are known; 0: none.",
		func(d DestinationStatus) float64 { return float64(d.Shards) }),
	destinationGauge("oldest_pending_seconds", "Age of the oldest event that waits for the destination; 0 when none does.",
		func(d DestinationStatus) float64 { return d.Pending.OldestSeconds }),
}

var identityColumns = []column[IdentityStatus]{
	counter("identity_appended_events_total", "Events that were stored, by the identity that sent them; the tokens of listeners have none.",
		func(i IdentityStatus) float64 { return float64(i.Appended.Events) }, "identity"),
	counter("identity_appended_bytes_total", "Bytes of the payloads that were stored, by the identity that sent them.",
		func(i IdentityStatus) float64 { return float64(i.Appended.Bytes) }, "identity"),
}

var accessColumns = []column[AccessStatus]{
	counter("unauthenticated_requests_total", "Requests that were refused because nobody knows who sent them.",
		func(a AccessStatus) float64 { return float64(a.Unknown.Requests) }),
}

// The reasons of a refusal that are an identity's own, as ingest calls them; told as zero before they happen.
var identityReasons = []string{"forbidden", "rate"}

var identityRefusedDesc = desc("identity_refused_events_total", "Events that were refused at ingest, by the identity that sent them and by why.",
	"identity", "reason")

// The known reasons to wait, as shipper calls them.
var waitReasons = []string{"paced", "throttled", "bandwidth"}

var waitsDesc = desc("destination_waiting", "1 while the destination waits for this, else 0.", "stream", "destination", "reason")

func destinationCounter(name, help string, value func(DestinationStatus) float64) column[DestinationStatus] {
	return counter(name, help, value, "stream", "destination")
}

func destinationGauge(name, help string, value func(DestinationStatus) float64) column[DestinationStatus] {
	return gauge(name, help, value, "stream", "destination")
}

var droppedDesc = desc("dropped_events_total", "Events that ended by a policy before they were delivered, by which.",
	"stream", "destination", "reason")

// collector tells what the ledger of one snapshot counts.
type collector struct{ status Status }

// Describe tells every metric that Collect may send.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, column := range walColumns {
		out <- column.desc
	}
	for _, column := range streamColumns {
		out <- column.desc
	}
	for _, column := range destinationColumns {
		out <- column.desc
	}
	for _, column := range identityColumns {
		out <- column.desc
	}
	for _, column := range accessColumns {
		out <- column.desc
	}
	out <- identityRefusedDesc
	out <- droppedDesc
	out <- waitsDesc
}

// Collect sends the snapshot's metrics.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, column := range walColumns {
		column.collect(out, c.status.WAL)
	}
	c.status.Access.collect(out)
	for _, stream := range c.status.Streams {
		for _, column := range streamColumns {
			column.collect(out, stream, label(stream.Name))
		}
		for _, d := range stream.Destinations {
			d.collect(out, label(stream.Name), label(d.Name))
		}
	}
}

func (a AccessStatus) collect(out chan<- prometheus.Metric) {
	for _, column := range accessColumns {
		column.collect(out, a)
	}
	for _, i := range a.Identities {
		for _, column := range identityColumns {
			column.collect(out, i, label(i.Name))
		}
		reasons := make(map[string]uint64)
		for _, reason := range identityReasons {
			reasons[reason] = 0
		}
		maps.Copy(reasons, i.Refused.Reasons)
		for reason, n := range reasons {
			out <- prometheus.MustNewConstMetric(identityRefusedDesc, prometheus.CounterValue, float64(n), label(i.Name), label(reason))
		}
	}
}

func (d DestinationStatus) collect(out chan<- prometheus.Metric, stream, name string) {
	for _, column := range destinationColumns {
		column.collect(out, d, stream, name)
	}
	for _, reason := range waitReasons {
		waits := 0.0
		if d.WaitsFor == reason {
			waits = 1
		}
		out <- prometheus.MustNewConstMetric(waitsDesc, prometheus.GaugeValue, waits, stream, name, reason)
	}
	for reason, n := range d.Dropped.Reasons.complete() {
		out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(n), stream, name, label(reason))
	}
}

// scrape answers with one snapshot and with what Metrics holds. A registry of its own for each
// answer is cheap, and lets every figure of the answer come from that one snapshot.
func (s *Server) scrape(w http.ResponseWriter, r *http.Request) {
	status := s.snapshot()
	s.metrics.prime(status)
	ledger := prometheus.NewRegistry()
	ledger.MustRegister(collector{status})
	promhttp.HandlerFor(prometheus.Gatherers{s.metrics.registry, ledger}, promhttp.HandlerOpts{
		ErrorLog: s.errorLog(),
		// Half of the figures in an incident are worth more than none.
		ErrorHandling: promhttp.ContinueOnError,
	}).ServeHTTP(w, r)
}
