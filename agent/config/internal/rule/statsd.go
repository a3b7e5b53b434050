package rule

import (
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// Metric accepts the characters that no flavor gives a meaning of its own.
func Metric(s string) string {
	rest := strings.NewReplacer(pattern.StreamMark, "", NameMark, "").Replace(s)
	switch {
	case s == "":
		return "is empty"
	case strings.ContainsFunc(rest, func(c rune) bool { return !schema.NameChar(c) }):
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	case len(rest) > maxMetric:
		return fmt.Sprintf("has more than %d characters", maxMetric)
	}
	return ""
}

// maxMetric is the longest name of a metric that Datadog takes: Datadog documentation, Custom Metrics, November 2026.
const maxMetric = 200

// TagField accepts the name of a field that can be the name of a tag too.
func TagField(s string) string {
	switch {
	case s == "":
		return "is empty"
	case Field(s) != "":
		return Field(s)
	case strings.ContainsFunc(s, func(c rune) bool { return !schema.NameChar(c) }):
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	}
	return ""
}

// Field accepts the name of a JSON field, with dots between nested names, or nothing.
func Field(s string) string {
	if s != "" && strings.Contains("."+s+".", "..") {
		return "has an empty name between its dots"
	}
	return ""
}

// ParseDatagramAddress parses udp://host:port or unixgram:///path.
func ParseDatagramAddress(s string) (network, address, wrong string) {
	if path, ok := strings.CutPrefix(s, "unixgram://"); ok {
		return "unixgram", path, schema.WrongSocketPath(path)
	}
	hostPort, ok := strings.CutPrefix(s, "udp://")
	if !ok {
		return "", "", "does not begin with udp:// or unixgram:///"
	}
	return "udp", hostPort, Broker(hostPort)
}

// NameMark is replaced by the value of Statsd.NameField.
const NameMark = "${name}"
