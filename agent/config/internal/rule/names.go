package rule

import (
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
)

// Stream accepts the name of a stream.
func Stream(s string) string {
	if err := pattern.Valid(s); err != nil {
		return "is no stream's name"
	}
	return ""
}

// MarkedStream is the rule for names of streams, except for the text behind ${stream}.
func MarkedStream(s string) string {
	if pattern.Valid(strings.ReplaceAll(s, pattern.StreamMark, "x")) != nil {
		return "is no stream's name"
	}
	return ""
}

// Pattern accepts the name or the pattern of streams.
func Pattern(s string) string {
	if err := pattern.ValidPattern(s); err != nil {
		return "is no stream's name or pattern"
	}
	return ""
}
