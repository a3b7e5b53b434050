package statsd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// Kind is the type of a metric.
type Kind string

// The kinds. Distribution exists in FlavorDogStatsD only.
const (
	Counter      Kind = "counter"
	Timer        Kind = "timer"
	Gauge        Kind = "gauge"
	Distribution Kind = "distribution"
)

// Flavor is the format of tags.
type Flavor string

// The flavors: as in DogStatsD, in the name of the metric, and as in Telegraf.
const (
	FlavorDogStatsD Flavor = "dogstatsd"
	FlavorStatsD    Flavor = "statsd"
	FlavorInflux    Flavor = "influx"
)

// Defaults and limits of Options.
const (
	defaultInterval  = 10 * time.Second
	defaultMaxSeries = 1000
	defaultTimeout   = 30 * time.Second

	// A datagram over UDP has to fit a packet of a network with an MTU of 1,500 bytes; over a unix socket the DogStatsD
	// server reads 8 KiB: DogStatsD documentation, High throughput, November 2026.
	udpDatagram      = 1432
	unixgramDatagram = 8 << 10
)

// Options configures a Sink. The fields of the event's JSON are named with dots between nested names.
type Options struct {
	Network, Address string // "udp" and host:port, or "unixgram" and the path of a socket
	Metric           string // the name of the metric; ${name} in it is replaced
	NameField        string // the field with the value of ${name}
	ValueField       string // the field with the value; empty: an event counts 1
	Kind             Kind   // default: Counter
	SampleRate       float64
	Tags             []string // fields that become tags
	Flavor           Flavor   // default: FlavorDogStatsD
	Interval         time.Duration
	MaxSeries        int
	Timeout          time.Duration // of a datagram, and of a connection
}

const nameMark = "${name}"

func (o *Options) setDefaults() error {
	if o.Kind == "" {
		o.Kind = Counter
	}
	if o.Flavor == "" {
		o.Flavor = FlavorDogStatsD
	}
	if o.SampleRate <= 0 || o.SampleRate > 1 {
		o.SampleRate = 1
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = defaultMaxSeries
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	switch {
	case o.Network != "udp" && o.Network != "unixgram":
		return fmt.Errorf("statsd: network %q: allowed is udp or unixgram", o.Network)
	case o.Metric == "":
		return fmt.Errorf("statsd: no metric")
	case o.Kind != Counter && o.ValueField == "":
		return fmt.Errorf("statsd: a %s needs a value field", o.Kind)
	case o.Kind == Distribution && o.Flavor != FlavorDogStatsD:
		return fmt.Errorf("statsd: flavor %s has no distributions", o.Flavor)
	case !slices.Contains([]Kind{Counter, Timer, Gauge, Distribution}, o.Kind):
		return fmt.Errorf("statsd: unknown type of metric %q", o.Kind)
	case !slices.Contains([]Flavor{FlavorDogStatsD, FlavorStatsD, FlavorInflux}, o.Flavor):
		return fmt.Errorf("statsd: unknown flavor %q", o.Flavor)
	}
	parts := strings.Split(o.Metric, nameMark)
	for i := range parts { // it may have the name of a stream
		parts[i] = clean(parts[i], maxPrefix, true)
	}
	o.Metric = strings.Join(parts, nameMark)
	return nil
}

func (o *Options) datagram() int {
	if o.Network == "unixgram" {
		return unixgramDatagram
	}
	return udpDatagram
}

func (o *Options) named() bool { return strings.Contains(o.Metric, nameMark) }

// maxRecord is the limit of an event: as large as a whole gRPC request.
const maxRecord = 16 << 20

// Shape returns the limits of the destination.
func (o Options) Shape() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingNone, WholeOrder: true, MaxRecord: maxRecord, BilledStep: 1}
}
