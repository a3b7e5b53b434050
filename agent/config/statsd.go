package config

import (
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
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

const (
	metricName = `the name of a metric, like "events.${name}", with characters of A-Z a-z 0-9 . _ -`
	jsonField  = `a field of the event's JSON, like "user.id"`
	udpAddress = `"udp://host:port" or "unixgram:///path", like "udp://127.0.0.1:8125"`
)

var statsdType = destinationType{
	name:    "statsd",
	meaning: "Counts of events in a metrics system, added up over an interval, without the events themselves.",
	own: []schema.Setting[Destination]{
		datagramAddress("address", func(d *Destination) (*string, *string) { return &d.Statsd.Network, &d.Statsd.Address }).Needed().
			Means("The address of the StatsD server."),
		marked("metric", metricName, func(d *Destination) *string { return &d.Statsd.Metric }, rule.Metric, "name").ByDefault("`\"events.${stream}\"`; with name_field `\"events.${name}\"`").
			Means("The name of the metric. ${name} is replaced by the value of name_field, and ${stream} by the name of the event's stream."),
		schema.Text("name_field", jsonField, func(d *Destination) *string { return &d.Statsd.NameField }, rule.Field).
			Means("The field with the value of ${name}."),
		schema.Text("value_field", jsonField, func(d *Destination) *string { return &d.Statsd.ValueField }, rule.Field).
			Means("The field with the value. Empty: each event counts 1."),
		schema.Word("type", func(d *Destination) *string { return &d.Statsd.Kind }, "counter", "timer", "gauge", "distribution").
			Means("The type of the metric. All but counter need value_field; distribution needs flavor = \"dogstatsd\"."),
		schema.Share("sample_rate", func(d *Destination) *float64 { return &d.Statsd.SampleRate }).
			Means("The part of the values of a timer or distribution that is sent. The server scales the counts."),
		schema.Joined("tags", `a list of fields, like ["market", "platform"]`, func(d *Destination) *List { return &d.Statsd.Tags }, rule.TagField).
			Means("The fields whose values become tags."),
		schema.Word("flavor", func(d *Destination) *string { return &d.Statsd.Flavor }, "dogstatsd", "statsd", "influx").
			Means("The format of tags: as in DogStatsD, in the name of the metric, or as in Telegraf."),
		schema.Duration("interval", "10s", func(d *Destination) *time.Duration { return &d.Statsd.Interval }, shortest).
			Means("The interval over which events are added up."),
		schema.Count("max_series", "1000", func(d *Destination) *int64 { return &d.Statsd.MaxSeries }, 1, maxConnections).
			Means("The limit for the combinations of name and tags. More are counted under \"other\"."),
	},
	check: checkStatsd,
	defaults: func(d *Destination) {
		d.Statsd = Statsd{Metric: "events." + pattern.StreamMark, Kind: "counter", SampleRate: 1, Flavor: "dogstatsd", Interval: 10 * time.Second, MaxSeries: 1000}
	},
}

func checkStatsd(b *schema.Block, d *Destination) {
	s := &d.Statsd
	if !b.Wrote("metric") && s.NameField != "" {
		s.Metric = "events." + rule.NameMark
	}
	named := strings.Contains(s.Metric, rule.NameMark)
	if named && s.NameField == "" && !b.Misread("name_field") {
		b.Fault(b.At("metric"), "metric: ${name} has no field; allowed is ${name} beside name_field")
	}
	if !named && s.NameField != "" && !b.Misread("metric") {
		b.Fault(b.At("name_field"), "name_field: metric has no ${name}; allowed is name_field with ${name} in metric")
	}
	if s.Kind != "counter" && s.ValueField == "" && !b.Misread("value_field") {
		b.Fault(b.At("type"), "type: a %s has values; allowed is %s beside value_field", s.Kind, s.Kind)
	}
	if s.Kind == "distribution" && s.Flavor != "dogstatsd" {
		b.Fault(b.At("type"), "type: flavor = %q has no distributions; allowed is distribution with flavor = \"dogstatsd\"", s.Flavor)
	}
	if b.Wrote("sample_rate") && (s.Kind == "counter" || s.Kind == "gauge") && !b.Misread("type") {
		b.Fault(b.At("sample_rate"), "sample_rate: a %s is sent once an interval; allowed is sample_rate with type = \"timer\" or \"distribution\"", s.Kind)
	}
}

// datagramAddress is a setting of udp://host:port or unixgram:///path.
func datagramAddress[T any](name string, field func(*T) (network, address *string)) schema.Setting[T] {
	s := schema.Address(name, field)
	s.Allowed, s.Read = udpAddress, func(v schema.Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		network, address, wrong := rule.ParseDatagramAddress(s)
		if wrong != "" {
			return v.Reject(schema.Quote(s) + " " + wrong)
		}
		n, a := field(into)
		*n, *a = network, address
		return true
	}
	return s
}
