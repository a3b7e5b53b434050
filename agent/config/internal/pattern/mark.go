package pattern

import "strings"

// StreamMark is replaced by the name of the event's stream in the settings that name a destination's target.
const StreamMark = "${stream}"

// Meet reports whether two texts with ${stream} become the same for at least one stream.
func Meet(name, a, b string) bool {
	return a == b || fills(name, a, b) || fills(name, b, a)
}

// fills reports whether path becomes literal for a stream of that name or pattern.
func fills(name, path, literal string) bool {
	_, ok := Filling(name, path, literal)
	return ok
}

// Filling returns the stream of that name or pattern for which path becomes literal, which has no ${stream}.
func Filling(name, path, literal string) (stream string, ok bool) {
	before, _, marked := strings.Cut(path, StreamMark)
	rest := strings.ReplaceAll(path, StreamMark, "")
	if !marked || strings.Contains(literal, StreamMark) || len(literal) < len(rest) {
		return "", false
	}
	size := (len(literal) - len(rest)) / strings.Count(path, StreamMark)
	stream = literal[len(before):][:size]
	return stream, Valid(stream) == nil && Match(name, stream) && strings.ReplaceAll(path, StreamMark, stream) == literal
}
