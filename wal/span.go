package wal

// span is what a segment holds of one stream: the events [first, next), and the bytes of all
// payloads appended to the stream before the first and before the next.
type span struct {
	first, next   uint64
	before, after uint64
}

func (s span) count() Count { return Count{s.next - s.first, s.after - s.before} }

// clamp returns the offset in the span, or at its end, that is nearest.
func (s span) clamp(offset uint64) uint64 { return min(max(offset, s.first), s.next) }
