package config

import (
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// streamMark is replaced by the name of the event's stream in the settings that name a destination's target.
const streamMark = "${stream}"

// marked is a text that may contain ${stream}, and further variables.
func marked[T any](name, allowed string, field func(*T) *string, wrong func(string) string, more ...string) schema.Setting[T] {
	return schema.Text(name, allowed, field, wrong).MayContain(append([]string{"stream"}, more...)...)
}

const maxName = 128

// markPlaces describes the settings that may contain ${stream}, for faults.
var markPlaces = map[string]string{"stream": "the settings that name a destination's target"}

// ValidStreamName returns an error unless name has 1 to 128 characters of A-Z a-z 0-9 . _ - and does not start with . or -.
// Folders, buckets and metrics are named after streams.
func ValidStreamName(name string) error {
	return validName(name, "")
}

// validPattern is ValidStreamName for a name that may contain *.
func validPattern(pattern string) error {
	if strings.Contains(pattern, "**") {
		return fmt.Errorf("%s has two * in a row, which mean the same as one", schema.Quote(pattern))
	}
	return validName(pattern, "*")
}

func validName(name, extra string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty; a name has 1 to %d characters", schema.Quote(name), maxName)
	case len(name) > maxName:
		return fmt.Errorf("%s has %d characters; at most %d are allowed", schema.Quote(name), len(name), maxName)
	case name[0] == '.' || name[0] == '-':
		return fmt.Errorf("%s starts with %q; a name starts with a letter, a digit or _", schema.Quote(name), name[:1])
	}
	for _, c := range name {
		if !schema.NameChar(c) && !strings.ContainsRune(extra, c) {
			return fmt.Errorf("%s has the character %q; allowed are A-Z a-z 0-9 . _ -", schema.Quote(name), c)
		}
	}
	return nil
}

func isPattern(name string) bool { return strings.Contains(name, "*") }

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
		if literal := literals(s.Name); literal > longest && matches(s.Name, stream) {
			best, longest = s, literal
		}
	}
	return best, best != nil
}

func literals(pattern string) int { return len(pattern) - strings.Count(pattern, "*") }

// matches reports whether name matches pattern, in which * is any run of characters, also none. The first match of the
// text between two stars is enough: a later one would leave less for the rest.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	rest, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	if rest, ok = strings.CutSuffix(rest, last); !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return true
}

// For returns d with ${stream} replaced by the name of the stream.
func (d Destination) For(stream string) Destination {
	d.Stream = strings.ReplaceAll(d.Stream, streamMark, stream)
	d.DeliveryStream = strings.ReplaceAll(d.DeliveryStream, streamMark, stream)
	d.Path = strings.ReplaceAll(d.Path, streamMark, stream)
	d.Kafka.Topic = strings.ReplaceAll(d.Kafka.Topic, streamMark, stream)
	d.S3.Prefix = strings.ReplaceAll(d.S3.Prefix, streamMark, stream)
	d.SQS.QueueURL = strings.ReplaceAll(d.SQS.QueueURL, streamMark, stream)
	d.Relay.Stream = strings.ReplaceAll(d.Relay.Stream, streamMark, stream)
	d.Statsd.Metric = strings.ReplaceAll(d.Statsd.Metric, streamMark, stream)
	return d
}
