package wal

import "github.com/standpipe/standpipe/wal/internal/segment"

// The names of events and of positions belong to the format of a segment. They are part of this package's API.

// Event is one unit that a producer sends.
type Event = segment.Event

// Count is a number of events and the bytes of their payloads.
type Count = segment.Count

// Run is the offsets [First, Next).
type Run = segment.Run

// Progress is the position of one lane of a destination.
type Progress = segment.Progress

// Ledger counts the events of a stream at one destination by their outcome, and the cost of their delivery.
type Ledger = segment.Ledger

// LaneSet is a set of lanes, one bit each.
type LaneSet = segment.LaneSet

// CorruptError reports an unreadable part of a log, with its location.
type CorruptError = segment.CorruptError

// VersionError reports that a part of the log has a format that this release cannot read. Open returns it and changes
// nothing, so that the release that wrote the log can still read it.
type VersionError = segment.VersionError

const (
	// Lanes is the number of lanes: equal slices of Kinesis's 128-bit hash-key space.
	Lanes = segment.Lanes
	// AllLanes holds every lane.
	AllLanes = segment.AllLanes
	// EventMemory is the number of bytes that an event in memory counts as in addition to its content.
	EventMemory = segment.EventMemory
)

// LaneOf returns the lane of a partition key: the top 6 bits of its MD5, which Kinesis reads as a big-endian 128-bit
// number to choose the shard.
func LaneOf(key string) uint8 { return segment.LaneOf(key) }

// IndexEvent finds the parts of an event in the encoding of standpipe.v1.Event, so that the encoding can be appended
// unchanged. Key and Data of the result refer to b, and so do all other parts, under Encoded. Time is 0 if b has none,
// and may be set then. Nothing else of the result may be changed.
//
// ok is false for an encoding that is not the plain one: a field that is unknown, occurs twice or has another type, or
// an attribute that is not a name and a value in valid UTF-8. Such an encoding may still be valid. The caller must then
// decode it, and append the decoded event.
func IndexEvent(b []byte) (e Event, ok bool) { return segment.IndexEvent(b) }
