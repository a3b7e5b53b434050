package config

import (
	"fmt"
	"strings"
	"time"
)

// Statsd is the settings that only a statsd destination has.
type Statsd struct {
	Network, Address string // "udp", "127.0.0.1:8125" or "unixgram", "/run/statsd.sock"
	Metric           string // may contain ${stream} and ${name}
	NameField        string // of the event's JSON, with dots between nested names: the value of ${name}; may be empty
	ValueField       string // as NameField: the value of the metric; empty: 1
	Kind             string // counter, timer, gauge or distribution
	SampleRate       float64
	Tags             List   // fields of the event's JSON
	Flavor           string // dogstatsd, statsd or influx
	Interval         time.Duration
	MaxSeries        int64
}

// nameMark is replaced by the value of Statsd.NameField.
const nameMark = "${name}"

const (
	metricName = `the name of a metric, like "events.${name}", with characters of A-Z a-z 0-9 . _ -`
	jsonField  = `a field of the event's JSON, like "user.id"`
	udpAddress = `"udp://host:port" or "unixgram:///path", like "udp://127.0.0.1:8125"`
)

var statsdType = destinationType{
	name:    "statsd",
	meaning: "Counts of events in a metrics system, added up over an interval, without the events themselves.",
	own: []setting[Destination]{
		datagramAddress("address", func(d *Destination) (*string, *string) { return &d.Statsd.Network, &d.Statsd.Address }).needed().
			means("The address of the StatsD server."),
		marked("metric", metricName, func(d *Destination) *string { return &d.Statsd.Metric }, wrongMetric, "name").byDefault("`\"events.${stream}\"`; with name_field `\"events.${name}\"`").
			means("The name of the metric. ${name} is replaced by the value of name_field, and ${stream} by the name of the event's stream."),
		text("name_field", jsonField, func(d *Destination) *string { return &d.Statsd.NameField }, wrongField).
			means("The field with the value of ${name}."),
		text("value_field", jsonField, func(d *Destination) *string { return &d.Statsd.ValueField }, wrongField).
			means("The field with the value. Empty: each event counts 1."),
		word("type", func(d *Destination) *string { return &d.Statsd.Kind }, "counter", "timer", "gauge", "distribution").
			means("The type of the metric. All but counter need value_field; distribution needs flavor = \"dogstatsd\"."),
		share("sample_rate", func(d *Destination) *float64 { return &d.Statsd.SampleRate }).
			means("The part of the values of a timer or distribution that is sent. The server scales the counts."),
		joined("tags", `a list of fields, like ["market", "platform"]`, func(d *Destination) *List { return &d.Statsd.Tags }, wrongTagField).
			means("The fields whose values become tags."),
		word("flavor", func(d *Destination) *string { return &d.Statsd.Flavor }, "dogstatsd", "statsd", "influx").
			means("The format of tags: as in DogStatsD, in the name of the metric, or as in Telegraf."),
		duration("interval", "10s", func(d *Destination) *time.Duration { return &d.Statsd.Interval }, shortest).
			means("The interval over which events are added up."),
		count("max_series", "1000", func(d *Destination) *int64 { return &d.Statsd.MaxSeries }, 1, maxConnections).
			means("The limit for the combinations of name and tags. More are counted under \"other\"."),
	},
	check: checkStatsd,
	defaults: func(d *Destination) {
		d.Statsd = Statsd{Metric: "events." + streamMark, Kind: "counter", SampleRate: 1, Flavor: "dogstatsd", Interval: 10 * time.Second, MaxSeries: 1000}
	},
}

func checkStatsd(b *block, d *Destination) {
	s := &d.Statsd
	if !b.wrote("metric") && s.NameField != "" {
		s.Metric = "events." + nameMark
	}
	named := strings.Contains(s.Metric, nameMark)
	if named && s.NameField == "" && !b.misread("name_field") {
		b.fault(b.at("metric"), "metric: ${name} has no field; allowed is ${name} beside name_field")
	}
	if !named && s.NameField != "" && !b.misread("metric") {
		b.fault(b.at("name_field"), "name_field: metric has no ${name}; allowed is name_field with ${name} in metric")
	}
	if s.Kind != "counter" && s.ValueField == "" && !b.misread("value_field") {
		b.fault(b.at("type"), "type: a %s has values; allowed is %s beside value_field", s.Kind, s.Kind)
	}
	if s.Kind == "distribution" && s.Flavor != "dogstatsd" {
		b.fault(b.at("type"), "type: flavor = %q has no distributions; allowed is distribution with flavor = \"dogstatsd\"", s.Flavor)
	}
	if b.wrote("sample_rate") && (s.Kind == "counter" || s.Kind == "gauge") && !b.misread("type") {
		b.fault(b.at("sample_rate"), "sample_rate: a %s is sent once an interval; allowed is sample_rate with type = \"timer\" or \"distribution\"", s.Kind)
	}
}

// datagramAddress is a setting of udp://host:port or unixgram:///path.
func datagramAddress[T any](name string, field func(*T) (network, address *string)) setting[T] {
	s := address(name, field)
	s.allowed, s.read = udpAddress, func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		network, address, wrong := parseDatagramAddress(s)
		if wrong != "" {
			return v.reject(quote(s) + " " + wrong)
		}
		n, a := field(into)
		*n, *a = network, address
		return true
	}
	return s
}

func parseDatagramAddress(s string) (network, address, wrong string) {
	if path, ok := strings.CutPrefix(s, "unixgram://"); ok {
		return "unixgram", path, wrongSocketPath(path)
	}
	hostPort, ok := strings.CutPrefix(s, "udp://")
	if !ok {
		return "", "", "does not begin with udp:// or unixgram:///"
	}
	return "udp", hostPort, wrongBroker(hostPort)
}

// wrongMetric accepts the characters that no flavor gives a meaning of its own.
func wrongMetric(s string) string {
	rest := strings.NewReplacer(streamMark, "", nameMark, "").Replace(s)
	switch {
	case s == "":
		return "is empty"
	case strings.ContainsFunc(rest, func(c rune) bool { return !nameChar(c) }):
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	case len(rest) > maxMetric:
		return fmt.Sprintf("has more than %d characters", maxMetric)
	}
	return ""
}

// maxMetric is the longest name of a metric that Datadog takes: Datadog documentation, Custom Metrics, November 2026.
const maxMetric = 200

// wrongTagField accepts the name of a field that can be the name of a tag too.
func wrongTagField(s string) string {
	switch {
	case s == "":
		return "is empty"
	case wrongField(s) != "":
		return wrongField(s)
	case strings.ContainsFunc(s, func(c rune) bool { return !nameChar(c) }):
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	}
	return ""
}
