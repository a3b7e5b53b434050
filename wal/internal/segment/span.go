package segment

// Span is the part of a stream that a segment holds: the events [First, Next), and the bytes of all payloads appended
// to the stream before First and before Next.
type Span struct {
	First, Next   uint64
	before, After uint64
}

// Count returns the events and bytes of the span.
func (s Span) Count() Count { return Count{s.Next - s.First, s.After - s.before} }

// Run returns the offsets of the span.
func (s Span) Run() Run { return Run{First: s.First, Next: s.Next} }

// Clamp returns the nearest offset in the span or at its end.
func (s Span) Clamp(offset uint64) uint64 { return min(max(offset, s.First), s.Next) }

// StreamStat is a stream at one instant.
type StreamStat struct {
	Name        string
	First, Next uint64 // the offsets [First, Next) are held
	Appended    Count
}
