package topicmap

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxFilter is the largest number of bytes of a filter, as that of a topic in MQTT.
const maxFilter = 65535

// WrongFilter returns the fault of a topic filter, or "".
func WrongFilter(filter string) string {
	switch {
	case filter == "":
		return "is empty"
	case len(filter) > maxFilter:
		return fmt.Sprintf("has more than %d bytes", maxFilter)
	case !utf8.ValidString(filter) || strings.Contains(filter, "\x00"):
		return "has a character that no topic has"
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "#" && i < len(levels)-1:
			return "has a # before its last level"
		case level != "#" && strings.Contains(level, "#"):
			return "has a # beside other characters of a level"
		case level != "+" && strings.Contains(level, "+"):
			return "has a + beside other characters of a level"
		}
	}
	return ""
}

// ValidTopic reports whether a client may publish to the topic.
func ValidTopic(topic string) bool {
	return topic != "" && utf8.ValidString(topic) && !strings.ContainsAny(topic, "+#\x00")
}

// Covers reports whether a topic that filter matches is also matched by earlier.
func Covers(earlier, filter string) bool {
	for {
		first, moreFirst, firstDeeper := strings.Cut(earlier, "/")
		level, more, deeper := strings.Cut(filter, "/")
		switch {
		case first == "#":
			return true
		case level == "#" || first != "+" && first != level:
			return false
		case !deeper: // earlier ends here too, or goes on with a # that stands for no level
			return !firstDeeper || moreFirst == "#"
		case !firstDeeper:
			return false
		}
		earlier, filter = moreFirst, more
	}
}
