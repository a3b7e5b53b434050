package wal

import "github.com/standpipe/standpipe/wal/internal/segment"

// The names of events and of positions belong to the format of a segment. They are part of this package's API.

// Event is what a producer sends.
type Event = segment.Event

// Count is a number of events and the bytes of their payloads.
type Count = segment.Count

// Run is the offsets [First, Next).
type Run = segment.Run

// Progress is where one lane of a destination stands.
type Progress = segment.Progress

// Ledger is what has become of a stream's events at one destination, and what it cost.
type Ledger = segment.Ledger

// LaneSet is a set of lanes, one bit each.
type LaneSet = segment.LaneSet

// CorruptError tells what in a log can't be read, and where.
type CorruptError = segment.CorruptError

// VersionError reports that a part of the log has a format that this release does not know. Open returns it and changes
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

// IndexEvent finds the parts of an event in the encoding of standpipe.v1.Event, so that it can be appended as it is: Key
// and Data of the result lie in b, and so does all else of it, under Encoded. Time is 0 when b has none, and may be set
// then. Nothing else of the result may be changed.
//
// ok is false for an encoding that is not the plain one: a field that is unknown, there twice or of another type, or an
// attribute that is not a name and a value in valid UTF-8. It may be good all the same, so it is to be decoded, and
// appended as what it then contains.
func IndexEvent(b []byte) (e Event, ok bool) { return segment.IndexEvent(b) }
