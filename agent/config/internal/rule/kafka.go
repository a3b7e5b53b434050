package rule

import (
	"fmt"
	"net"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// maxTopic is the longest name of a topic: Topic.MAX_NAME_LENGTH of Apache Kafka 4.1.
const maxTopic = 249

// Topic applies Kafka's rule for the names of topics, except for the text behind ${stream}.
func Topic(s string) string {
	rest := strings.ReplaceAll(s, pattern.StreamMark, "")
	switch {
	case s == "":
		return "is empty"
	case s == "." || s == "..":
		return "is no name of a topic"
	case strings.ContainsFunc(rest, func(c rune) bool { return !schema.NameChar(c) }):
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	case len(strings.ReplaceAll(s, pattern.StreamMark, "x")) > maxTopic:
		return fmt.Sprintf("has more than %d characters", maxTopic)
	}
	return ""
}

// Broker accepts host:port.
func Broker(s string) string {
	network, address, wrong := schema.ParseAddress(s)
	if host, port, _ := net.SplitHostPort(address); wrong == "" && (network != "tcp" || host == "" || strings.Trim(port, "0") == "") {
		return "is no host:port"
	}
	return wrong
}
