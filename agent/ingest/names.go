package ingest

import (
	"github.com/standpipe/standpipe/agent/ingest/internal/httpin"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/mqttin"
	"github.com/standpipe/standpipe/agent/ingest/internal/otlp"
	"github.com/standpipe/standpipe/wal"
)

// The interfaces to the WAL, the streams and the metrics.
type (
	Log         = intake.Log
	Ticket      = intake.Ticket
	Streams     = intake.Streams
	StreamRules = intake.StreamRules
	Observer    = intake.Observer
	Relays      = intake.Relays
)

// FromWAL returns l as a Log.
func FromWAL(l *wal.Log) Log { return intake.FromWAL(l) }

// The errors of Streams.Lookup.
var (
	ErrNoStream       = intake.ErrNoStream
	ErrInvalidName    = intake.ErrInvalidName
	ErrTooManyStreams = intake.ErrTooManyStreams
)

// The formats of a stream's events.
const (
	FormatJSON  = intake.FormatJSON
	FormatText  = intake.FormatText
	FormatBytes = intake.FormatBytes
)

// HTTPOptions are the settings that only an HTTP listener has. Pixel is one of them.
type (
	HTTPOptions = httpin.Options
	Pixel       = httpin.Pixel
)

// MQTTOptions are the settings that only an MQTT listener has.
type MQTTOptions = mqttin.Options

// OTLPOptions let a listener take the logs of OpenTelemetry.
type OTLPOptions = otlp.Options
