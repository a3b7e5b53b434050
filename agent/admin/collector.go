package admin

import (
	"errors"
	"maps"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// A column is one metric that is computed from a part of the status.
type column[T any] struct {
	family *family
	value  func(T) float64
}

func counter[T any](name, help string, value func(T) float64, labels ...string) column[T] {
	return column[T]{counterFamily(name, help, labels...), value}
}

func gauge[T any](name, help string, value func(T) float64, labels ...string) column[T] {
	return column[T]{gaugeFamily(name, help, labels...), value}
}

func (c column[T]) collect(e *emitter, of T, labels ...string) {
	e.send(c.family, c.value(of), labels...)
}

var walColumns = []column[WALStatus]{
	gauge("wal_bytes", "Bytes of the WAL's segments.", func(w WALStatus) float64 { return float64(w.Bytes) }),
	gauge("wal_max_bytes", "Limit of the bytes of the WAL's segments.", func(w WALStatus) float64 { return float64(w.MaxBytes) }),
	gauge("wal_state_bytes", "Bytes of the WAL's state: streams, destinations and producers.", func(w WALStatus) float64 { return float64(w.StateBytes) }),
	gauge("wal_max_state_bytes", "Bytes of state beyond which new streams and producers are rejected.", func(w WALStatus) float64 { return float64(w.MaxStateBytes) }),
	gauge("dead_letters_bytes", "Bytes of the dead-letter file.", func(w WALStatus) float64 { return float64(w.DeadBytes) }),
	gauge("dead_letters_max_bytes", "Limit of the bytes of the dead-letter file; an event whose letter does not fit stays in the WAL.", func(w WALStatus) float64 { return float64(w.MaxDeadBytes) }),
	gauge("wal_set_aside_files", "Damaged segments and dead-letter files that were set aside in the data directory.", func(w WALStatus) float64 { return float64(len(w.SetAside)) }),
	gauge("wal_failed", "1 if the WAL has failed and rejects all events, else 0.", func(w WALStatus) float64 { return one(w.Failed != "") }),
	gauge("disk_free_bytes", "Free bytes on the volume of the data directory.", func(w WALStatus) float64 { return float64(w.DiskFreeBytes) }),
	counter("wal_written_bytes_total", "Bytes written to the WAL's segments: whole pages, without the file system's own writes.", func(w WALStatus) float64 { return float64(w.Written) }),
	counter("device_written_bytes_total", "Bytes written to the device of the data directory by all programs since the start of the agent; 0: unknown.", func(w WALStatus) float64 { return float64(w.DeviceWritten) }),
	gauge("wal_retained_bytes", "Bytes of settled segments that stay for replay, beside those of wal_bytes.", func(w WALStatus) float64 { return float64(w.RetainedBytes) }),
	gauge("wal_segments", "Segments of the WAL.", func(w WALStatus) float64 { return float64(w.Segments) }),
}

var streamColumns = []column[*StreamStatus]{
	counter("appended_events_total", "Events stored in the WAL.",
		func(s *StreamStatus) float64 { return float64(s.Appended.Events) }, "stream"),
	counter("appended_bytes_total", "Payload bytes stored in the WAL.",
		func(s *StreamStatus) float64 { return float64(s.Appended.Bytes) }, "stream"),
	gauge("stream_held_bytes", "Bytes of the stream's backlog, measured at its slowest destination.",
		func(s *StreamStatus) float64 { return float64(s.HeldBytes) }, "stream"),
	gauge("stream_max_bytes", "Limit of the stream's backlog in bytes; 0: no own limit.",
		func(s *StreamStatus) float64 { return float64(s.MaxBytes) }, "stream"),
}

var destinationColumns = []column[*DestinationStatus]{
	destinationCounter("delivered_events_total", "Events acknowledged by the destination.",
		func(d *DestinationStatus) float64 { return float64(d.Delivered.Events) }),
	destinationCounter("delivered_bytes_total", "Payload bytes acknowledged by the destination.",
		func(d *DestinationStatus) float64 { return float64(d.Delivered.Bytes) }),
	destinationCounter("dead_events_total", "Events rejected by the destination and moved to dead letters.",
		func(d *DestinationStatus) float64 { return float64(d.Dead.Events) }),
	destinationGauge("dead_letters", "Dead letters of the destination that are stored now.",
		func(d *DestinationStatus) float64 { return float64(d.DeadLetters) }),
	destinationCounter("destination_records_total", "Records stored by the destination.",
		func(d *DestinationStatus) float64 { return float64(d.Records) }),
	destinationCounter("destination_billed_bytes_total", "Bytes billed by the destination's service.",
		func(d *DestinationStatus) float64 { return float64(d.BilledBytes) }),
	destinationCounter("destination_put_units_total", "Put payload units of Kinesis, or steps of 64 KiB of SQS, billed by the destination's service.",
		func(d *DestinationStatus) float64 { return float64(d.PutUnits) }),
	destinationGauge("pending_events", "Events pending at the destination.",
		func(d *DestinationStatus) float64 { return float64(d.Pending.Events) }),
	destinationGauge("pending_bytes", "Payload bytes pending at the destination.",
		func(d *DestinationStatus) float64 { return float64(d.Pending.Bytes) }),
	destinationGauge("destination_pace_bytes", "Current limit of record bytes a second for all shards of the destination; 0: no limit.",
		func(d *DestinationStatus) float64 { return float64(d.PaceBytes) }),
	destinationGauge("destination_shards", "Known open shards of the destination; 0: none.",
		func(d *DestinationStatus) float64 { return float64(d.Shards) }),
	destinationGauge("oldest_pending_seconds", "Age of the oldest event pending at the destination; 0: none.",
		func(d *DestinationStatus) float64 { return d.Pending.OldestSeconds }),
	destinationGauge("newest_delivered_age_seconds", "Age of the newest event that the destination has; 0: none.",
		func(d *DestinationStatus) float64 { return d.NewestDeliveredSeconds }),
}

var identityColumns = []column[IdentityStatus]{
	counter("identity_appended_events_total", "Events stored, by the identity of the sender; empty for a listener's own tokens.",
		func(i IdentityStatus) float64 { return float64(i.Appended.Events) }, "identity"),
	counter("identity_appended_bytes_total", "Payload bytes stored, by the identity of the sender.",
		func(i IdentityStatus) float64 { return float64(i.Appended.Bytes) }, "identity"),
}

var accessColumns = []column[AccessStatus]{
	counter("unauthenticated_requests_total", "Requests rejected because the caller is unknown.",
		func(a AccessStatus) float64 { return float64(a.Unknown.Requests) }),
}

var agentColumns = []column[Status]{
	counter("link_sent_bytes_total", "Bytes sent on the TCP connections of all destinations, with TLS and without the headers of TCP and IP.",
		func(s Status) float64 { return float64(s.Link.Sent) }),
	counter("link_received_bytes_total", "Bytes received on the TCP connections of all destinations.",
		func(s Status) float64 { return float64(s.Link.Received) }),
	gauge("accepting", "1 while events are accepted, else 0.", func(s Status) float64 { return one(s.Accepting.OK) }),
	gauge("config_last_reload_success", "1 if the last reload of the configuration succeeded, or none was tried; else 0.",
		func(s Status) float64 { return one(s.Reload.OK || s.Reload.At.IsZero()) }),
	gauge("config_last_reload_timestamp_seconds", "Time of the last reload, or of the start.", func(s Status) float64 {
		if s.Reload.At.IsZero() {
			return seconds(s.Agent.StartedAt)
		}
		return seconds(s.Reload.At)
	}),
}

var (
	buildFamily       = gaugeFamily("build_info", "The build of the program; always 1.", "version", "commit", "goversion")
	readyFamily       = gaugeFamily("ready", "1 while /readyz is 200, else 0.")
	problemsFamily    = gaugeFamily("problems", "Present problems, by kind.", "kind")
	certificateFamily = gaugeFamily("certificate_expiry_timestamp_seconds", "Time at which the certificate expires.", "file")
	stateFamily       = gaugeFamily("destination_state", "1 for the state of the destination, else 0.", "stream", "destination", "state")
)

// states are all states of a destination.
var states = []State{Running, Waiting, Blocked, Parked, Paused, Forgotten}

func one(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// seconds returns t as a Unix time; 0: none.
func seconds(t Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// identityReasons are the rejection reasons of package ingest that concern an identity. They are exported at zero.
var identityReasons = []string{"forbidden", "rate"}

var identityRefusedFamily = counterFamily("identity_refused_events_total", "Events rejected at ingest, by the identity of the sender and the reason.",
	"identity", "reason")

// waitReasons are the values of shipper.Report.Waits.
var waitReasons = []string{"paced", "throttled", "bandwidth"}

var waitsFamily = gaugeFamily("destination_waiting", "1 while the destination waits for this reason, else 0.", "stream", "destination", "reason")

func destinationCounter(name, help string, value func(*DestinationStatus) float64) column[*DestinationStatus] {
	return counter(name, help, value, "stream", "destination")
}

func destinationGauge(name, help string, value func(*DestinationStatus) float64) column[*DestinationStatus] {
	return gauge(name, help, value, "stream", "destination")
}

var droppedFamily = counterFamily("dropped_events_total", "Events dropped before delivery, by policy.",
	"stream", "destination", "reason")

// collector exports the counts of one snapshot.
type collector struct {
	status Status
	ready  bool
	build  [3]string // version, commit, Go version
	kinds  []string  // of problems
	basic  bool      // as PerStreamBasic
}

// Gather returns the snapshot's metrics. It is not a collector of a registry, whose checks of each series take ten times as
// long; TestCollector_PassesTheRegistry holds them.
func (c collector) Gather() ([]*dto.MetricFamily, error) {
	e := newEmitter(c.basic)
	for _, column := range walColumns {
		column.collect(e, c.status.WAL)
	}
	c.collectAgent(e)
	c.status.Access.collect(e)
	for i := range c.status.Streams {
		stream := &c.status.Streams[i]
		name := label(stream.Name)
		for _, column := range streamColumns {
			column.collect(e, stream, name)
		}
		for j := range stream.Destinations {
			stream.Destinations[j].collect(e, name, label(stream.Destinations[j].Name))
		}
	}
	return e.gather(), nil
}

func (c collector) collectAgent(e *emitter) {
	for _, column := range agentColumns {
		column.collect(e, c.status)
	}
	e.send(buildFamily, 1, c.build[:]...)
	e.send(readyFamily, one(c.ready))
	problems := make(map[string]int)
	for _, kind := range c.kinds {
		problems[kind] = 0
	}
	for _, p := range c.status.Problems {
		problems[p.Kind]++
	}
	for kind, n := range problems {
		e.send(problemsFamily, float64(n), label(kind))
	}
	for _, cert := range c.status.Certificates {
		e.send(certificateFamily, seconds(cert.Expires), label(cert.File))
	}
}

func (a AccessStatus) collect(e *emitter) {
	for _, column := range accessColumns {
		column.collect(e, a)
	}
	for _, i := range a.Identities {
		for _, column := range identityColumns {
			column.collect(e, i, label(i.Name))
		}
		reasons := make(map[string]uint64)
		for _, reason := range identityReasons {
			reasons[reason] = 0
		}
		maps.Copy(reasons, i.Refused.Reasons)
		for reason, n := range reasons {
			e.send(identityRefusedFamily, float64(n), label(i.Name), label(reason))
		}
	}
}

func (d *DestinationStatus) collect(e *emitter, stream, name string) {
	for _, column := range destinationColumns {
		column.collect(e, d, stream, name)
	}
	for _, reason := range waitReasons {
		waits := 0.0
		if d.WaitsFor == reason {
			waits = 1
		}
		e.send(waitsFamily, waits, stream, name, reason)
	}
	for _, state := range states {
		e.send(stateFamily, one(d.State == state), stream, name, string(state))
	}
	for reason, n := range d.Dropped.Reasons.complete() {
		e.send(droppedFamily, float64(n), stream, name, label(reason))
	}
}

// scrape responds with one snapshot and with the metrics of s.metrics. All figures of the response come from the same snapshot.
func (s *Server) scrape(w http.ResponseWriter, r *http.Request) {
	status := s.snapshot()
	reduced := !s.perStream().full(&status)
	counted := prometheus.Gatherer(s.metrics.registry)
	if reduced {
		counted = basic{counted}
	}
	s.metrics.prime(status, reduced)
	promhttp.HandlerFor(both{counted, collector{status, s.source.Ready() == nil, s.build, s.kinds, reduced}}, promhttp.HandlerOpts{
		ErrorLog: s.errorLog(),
		// During an incident half of the figures are better than none.
		ErrorHandling: promhttp.ContinueOnError,
	}).ServeHTTP(w, r)
}

// both has the families of two gatherers without a common name.
type both [2]prometheus.Gatherer

// Gather returns the families of both.
func (b both) Gather() ([]*dto.MetricFamily, error) {
	first, err := b[0].Gather()
	second, err2 := b[1].Gather()
	return append(first, second...), errors.Join(err, err2)
}
