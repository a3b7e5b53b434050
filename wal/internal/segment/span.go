package segment

// Span is what a segment holds of one stream: the events [first, next), and the bytes of all
// payloads appended to the stream before the first and before the next.
type Span struct {
	First, Next   uint64
	before, After uint64
}

// Count returns the events and bytes of the span.
func (s Span) Count() Count { return Count{s.Next - s.First, s.After - s.before} }

// Clamp returns the offset in the span, or at its end, that is nearest.
func (s Span) Clamp(offset uint64) uint64 { return min(max(offset, s.First), s.Next) }

// StreamStat is a stream at one instant.
type StreamStat struct {
	Name        string
	First, Next uint64 // the offsets [First, Next) are held
	Appended    Count
}
