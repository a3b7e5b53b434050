package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Status is the response of /v1/status.
type Status struct {
	Agent   AgentStatus    `json:"agent"`
	WAL     WALStatus      `json:"wal"`
	Streams []StreamStatus `json:"streams"`
	Access  AccessStatus   `json:"access"`
	Link    LinkStatus     `json:"link"`

	Accepting Accepting    `json:"accepting"`
	Problems  []Problem    `json:"problems"` // the worst first
	Reload    ReloadStatus `json:"reload"`

	Certificates []CertificateStatus `json:"certificates"` // of all listeners
}

// AgentStatus is the process.
type AgentStatus struct {
	ID        string `json:"id"` // the WAL's, created at its first start
	NodeName  string `json:"node_name"`
	Version   string `json:"version"`
	State     string `json:"state"` // starting, running, draining or failed
	StartedAt Time   `json:"started_at"`
}

// WALStatus is the state of the WAL.
type WALStatus struct {
	Bytes    int64 `json:"bytes"`     // of all segments but the retained ones
	MaxBytes int64 `json:"max_bytes"` // the limit of Bytes
	Segments int   `json:"segments"`
	// RetainedBytes are occupied beside Bytes by segments that all destinations have settled and that stay for tap and replay.
	// New events count them as free.
	RetainedBytes    int64 `json:"retained_bytes"`
	RetainedSegments int   `json:"retained_segments"`
	// Written counts the bytes written to segments since the start of the process: whole pages, without the file system's own
	// writes. WrittenPerDay is its rate over the last hour, or since the start.
	Written       int64   `json:"written_bytes"`
	WrittenPerDay float64 `json:"written_bytes_per_day"`
	// DeviceWritten counts the bytes that all programs have written to the device of the data directory since the start of the
	// process, with the file system's own writes; 0: unknown.
	DeviceWritten       int64   `json:"device_written_bytes"`
	DeviceWrittenPerDay float64 `json:"device_written_bytes_per_day"`
	Failed              string  `json:"failed"` // why the WAL has failed for good; empty: it has not

	StateBytes    int64 `json:"state_bytes"`     // of streams, destinations and producers, stored in each segment
	MaxStateBytes int64 `json:"max_state_bytes"` // beyond it new streams and producers are rejected
	StateFull     bool  `json:"state_full"`      // some were rejected within the last minute

	DeadBytes    int64 `json:"dead_bytes"`     // of the dead-letter file, not included in Bytes
	MaxDeadBytes int64 `json:"max_dead_bytes"` // the limit of DeadBytes

	DiskFreeBytes int64 `json:"disk_free_bytes"` // on the volume of the data directory
	DiskBytes     int64 `json:"disk_bytes"`      // the volume's size; 0: unknown
	// UntilFullSeconds is the time until Bytes reaches its limit at the growth of the last minute; 0: it does not grow.
	UntilFullSeconds float64 `json:"until_full_seconds"`

	SetAside []string `json:"set_aside"` // damaged files in the data directory that were renamed, and are no longer used
}

// LinkStatus counts the bytes of the TCP connections of all destinations since the start of the process, with TLS and without the
// headers of TCP and IP.
type LinkStatus struct {
	Sent     int64   `json:"sent_bytes"`
	Received int64   `json:"received_bytes"`
	PerDay   float64 `json:"bytes_per_day"` // both, over the last hour, or since the start
}

// StreamStatus is one stream and its destinations.
type StreamStatus struct {
	Name         string              `json:"name"`
	FirstOffset  uint64              `json:"first_offset"` // the oldest event in the WAL; NextOffset: none
	NextOffset   uint64              `json:"next_offset"`
	Appended     Volume              `json:"appended"`
	AppendRate   Rate                `json:"append_rate"`
	Refused      Events              `json:"refused"`    // since the start of the process; the Server fills it in
	HeldBytes    int64               `json:"held_bytes"` // the stream's backlog at its slowest destination
	MaxBytes     int64               `json:"max_bytes"`  // the limit of HeldBytes; 0: no own limit
	Destinations []DestinationStatus `json:"destinations"`
}

// AccessStatus counts the events and rejections of each identity since the start of the process.
type AccessStatus struct {
	Identities []IdentityStatus `json:"identities"` // in the order of the configuration
	Unknown    UnknownStatus    `json:"unknown"`
}

// IdentityStatus is one identity. The one without a name is for all callers with a token of a listener's own file.
type IdentityStatus struct {
	Name         string        `json:"name"`
	Appended     Volume        `json:"appended"`
	LastAppendAt Time          `json:"last_append_at"`
	Refused      RefusedEvents `json:"refused"`
	LastRefusal  Refusal       `json:"last_refusal"`
}

// RefusedEvents is the number of an identity's rejected events, in total and by reason.
type RefusedEvents struct {
	Events  uint64            `json:"events"`
	Reasons map[string]uint64 `json:"reasons"` // without those that have not occurred
}

// UnknownStatus counts the rejected requests of unknown callers.
type UnknownStatus struct {
	Requests    uint64  `json:"requests"` // also to the admin listener; a connection to a socket is one
	LastRefusal Refusal `json:"last_refusal"`
}

// Refusal is one rejection. It contains no token and no payload.
type Refusal struct {
	At   Time   `json:"at"`
	Why  string `json:"why"`
	From string `json:"from"` // an address or a process; empty: unknown
}

// Listed returns the destinations that are shown to operators: all but forgotten ones, which hold nothing.
func (s *StreamStatus) Listed() []DestinationStatus {
	forgotten := func(d DestinationStatus) bool { return d.State == Forgotten }
	if !slices.ContainsFunc(s.Destinations, forgotten) {
		return s.Destinations
	}
	return slices.DeleteFunc(slices.Clone(s.Destinations), forgotten)
}

// DestinationStatus is the state of one destination of a stream.
type DestinationStatus struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	State State  `json:"state"`

	Checkpoint uint64 `json:"checkpoint"` // the first offset that is not settled
	Delivered  Volume `json:"delivered"`
	Rate       Rate   `json:"delivery_rate"`
	Dead       Events `json:"dead"`
	// DeadLetters is the number of dead letters that are stored now, as of the last seconds.
	DeadLetters uint64  `json:"dead_letters"`
	Dropped     Dropped `json:"dropped"`
	Pending     Pending `json:"pending"`
	// UntilFullSeconds is the time until the WAL, or the stream's max_size, is full if this backlog alone grows, as in the
	// last 10 s. 0: it does not grow.
	UntilFullSeconds float64 `json:"until_full_seconds,omitempty"`

	Requests    uint64 `json:"requests"`
	Records     uint64 `json:"records"`
	BilledBytes uint64 `json:"billed_bytes"`
	PutUnits    uint64 `json:"put_units"`
	// CompressionRatio is the recent ratio of framed bytes to sent bytes; 0: no compression.
	CompressionRatio float64 `json:"compression_ratio,omitempty"`
	Cost             *Cost   `json:"cost,omitempty"` // so far, by the WAL's counters; nil: no price is set

	WaitsFor string `json:"waits_for"` // paced, throttled, bandwidth; empty: nothing
	// PaceBytes is the current limit of record bytes a second for all shards; 0: none.
	PaceBytes uint64 `json:"pace_bytes_per_second"`
	Shards    int    `json:"shards"` // known open shards; 0: none

	// NewestDeliveredSeconds is the age of the newest delivered event, since the start of the destination; before that the
	// time since the last delivery. 0: none. It grows while no event is pending.
	NewestDeliveredSeconds float64 `json:"newest_delivered_seconds"`

	// FailingSince is the first failure since the last request that got through; zero: it does not fail. CatchingUpSince is the end
	// of an outage of at least 10 s whose backlog is not delivered yet; zero: there is none.
	FailingSince    Time `json:"failing_since,omitzero"`
	CatchingUpSince Time `json:"catching_up_since,omitzero"`
	// SentBytes are the bytes of the bodies of requests since the start of the destination, repeated ones included. A ranged
	// destination counts what it delivered.
	SentBytes uint64 `json:"sent_bytes,omitempty"`

	LastDeliveryAt Time   `json:"last_delivery_at"`
	LastError      string `json:"last_error"`
	RetryAt        Time   `json:"retry_at"`

	ParkedAt Time `json:"parked_at"` // zero: not parked
	PausedAt Time `json:"paused_at"` // zero: not paused
}

// Rate is the traffic of the last 10 seconds.
type Rate struct {
	Events float64 `json:"events_per_second"`
	Bytes  float64 `json:"bytes_per_second"`
}

// CertificateStatus is a certificate of a listener.
type CertificateStatus struct {
	File    string `json:"file"`
	Expires Time   `json:"expires"`
}

// Cost is an amount of money.
type Cost struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
}

// State is the state of a destination.
type State string

// The states of a destination.
const (
	Running State = "running"
	Waiting State = "waiting" // backing off
	Blocked State = "blocked" // needs an operator
	Parked  State = "parked"  // no longer in the configuration; its events are kept, later ones are not

	Paused    State = "paused"    // by an operator; its events are kept
	Forgotten State = "forgotten" // parked, and an operator has dropped its events; only its ledger is left
)

// Volume is a number of events and the bytes of their payloads.
type Volume struct {
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"`
}

// Events is a number of events.
type Events struct {
	Events uint64 `json:"events"`
}

// Dropped is the number of events dropped by policies.
type Dropped struct {
	Events  uint64  `json:"events"`
	Reasons Reasons `json:"reasons"`
}

// Pending is the events that are not settled.
type Pending struct {
	Events        uint64  `json:"events"`
	Bytes         uint64  `json:"bytes"`
	OldestSeconds float64 `json:"oldest_seconds"` // the age of the oldest; 0: no events
}

// Reasons counts dropped events by reason. Its JSON always has the known reasons.
type Reasons map[string]uint64

// dropReasons are the known reasons.
var dropReasons = []string{"full", "age", "corrupt", "absent", "parked", "forgotten"}

// Sum returns the number of events of all reasons.
func (r Reasons) Sum() uint64 {
	var sum uint64
	for _, n := range r {
		sum += n
	}
	return sum
}

// complete returns r with all known reasons.
func (r Reasons) complete() Reasons {
	all := make(Reasons, len(dropReasons)+len(r))
	for _, reason := range dropReasons {
		all[reason] = 0
	}
	maps.Copy(all, r)
	return all
}

// MarshalJSON includes all known reasons.
func (r Reasons) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]uint64(r.complete()))
}

// Time is a time whose zero is the empty string in JSON, and RFC 3339 in UTC otherwise.
type Time struct{ time.Time }

// MarshalJSON writes the time in UTC, or an empty string.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte(`""`), nil
	}
	return t.UTC().MarshalJSON()
}

// UnmarshalJSON reads the output of MarshalJSON.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == `""` {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}

// complete returns s with the rejected events of each stream, and with empty lists instead of nil, which would be null in
// JSON. It copies the changed slices: the caller's snapshot stays as it is.
func (s Status) complete(refused func(stream string) uint64) Status {
	s.Access.Identities = slices.Clone(s.Access.Identities)
	if s.Access.Identities == nil {
		s.Access.Identities = []IdentityStatus{}
	}
	for i := range s.Access.Identities {
		if r := &s.Access.Identities[i].Refused; r.Reasons == nil {
			r.Reasons = map[string]uint64{}
		}
	}
	s.Streams = slices.Clone(s.Streams)
	if s.WAL.SetAside == nil {
		s.WAL.SetAside = []string{}
	}
	changes := &s.Reload.Changes
	for _, list := range []*[]string{&changes.Started, &changes.Parked, &changes.NeedRestart} {
		if *list == nil {
			*list = []string{}
		}
	}
	if s.Problems == nil {
		s.Problems = []Problem{}
	}
	if s.Certificates == nil {
		s.Certificates = []CertificateStatus{}
	}
	if s.Streams == nil {
		s.Streams = []StreamStatus{}
	}
	for i := range s.Streams {
		stream := &s.Streams[i]
		stream.Refused.Events = refused(stream.Name)
		if stream.Destinations == nil {
			stream.Destinations = []DestinationStatus{}
		}
	}
	return s
}

// Check returns an error with the numbers of every ledger of s that does not balance.
func (s Status) Check() error {
	var faults []error
	for _, stream := range s.Streams {
		for _, d := range stream.Destinations {
			if err := d.check(stream); err != nil {
				faults = append(faults, fmt.Errorf("stream %q, destination %q: %w", stream.Name, d.Name, err))
			}
		}
	}
	return errors.Join(faults...)
}

func (d DestinationStatus) check(s StreamStatus) error {
	switch {
	case d.Delivered.Events+d.Dead.Events+d.Dropped.Events+d.Pending.Events != s.Appended.Events:
		return fmt.Errorf("appended %d, but delivered %d + dead %d + dropped %d + pending %d",
			s.Appended.Events, d.Delivered.Events, d.Dead.Events, d.Dropped.Events, d.Pending.Events)
	case d.Dropped.Reasons.Sum() != d.Dropped.Events:
		return fmt.Errorf("dropped %d, but %d by reasons", d.Dropped.Events, d.Dropped.Reasons.Sum())
	case d.Checkpoint > s.NextOffset:
		return fmt.Errorf("checkpoint %d, but the next offset is %d", d.Checkpoint, s.NextOffset)
	}
	return nil
}
