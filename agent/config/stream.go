package config

import (
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// marked is a text that may contain ${stream}, and further variables.
func marked[T any](name, allowed string, field func(*T) *string, wrong func(string) string, more ...string) schema.Setting[T] {
	return schema.Text(name, allowed, field, wrong).MayContain(append([]string{"stream"}, more...)...)
}

// markPlaces describes the settings that may contain ${stream}, for faults.
var markPlaces = map[string]string{"stream": "the settings that name a destination's target"}

// ValidStreamName returns an error unless name has 1 to 128 characters of A-Z a-z 0-9 . _ - and does not start with . or -.
// Folders, buckets and metrics are named after streams.
func ValidStreamName(name string) error { return pattern.Valid(name) }

// Match returns the block of a stream: the block with exactly that name, or else the matching pattern with the longest
// literal text. The first one in the file wins a tie. Match reports false without a match and for an invalid name.
func (c *Config) Match(stream string) (*Stream, bool) {
	if ValidStreamName(stream) != nil {
		return nil, false
	}
	var best *Stream
	longest := -1
	for i := range c.Streams {
		s := &c.Streams[i]
		if s.Name == stream {
			return s, true
		}
		if literal := pattern.Literals(s.Name); literal > longest && pattern.Match(s.Name, stream) {
			best, longest = s, literal
		}
	}
	return best, best != nil
}

// For returns d with ${stream} replaced by the name of the stream.
func (d Destination) For(stream string) Destination {
	d.Stream = strings.ReplaceAll(d.Stream, pattern.StreamMark, stream)
	d.DeliveryStream = strings.ReplaceAll(d.DeliveryStream, pattern.StreamMark, stream)
	d.Path = strings.ReplaceAll(d.Path, pattern.StreamMark, stream)
	d.Kafka.Topic = strings.ReplaceAll(d.Kafka.Topic, pattern.StreamMark, stream)
	d.S3.Prefix = strings.ReplaceAll(d.S3.Prefix, pattern.StreamMark, stream)
	d.SQS.QueueURL = strings.ReplaceAll(d.SQS.QueueURL, pattern.StreamMark, stream)
	d.Relay.Stream = strings.ReplaceAll(d.Relay.Stream, pattern.StreamMark, stream)
	d.Statsd.Metric = strings.ReplaceAll(d.Statsd.Metric, pattern.StreamMark, stream)
	return d
}
