package wal

import (
	"crypto/md5"
	"time"
)

// Lanes is the number of lanes: equal slices of Kinesis's 128-bit hash-key space.
const Lanes = 64

// Event is what a producer sends. The log stores Key, Data, Time and Attributes as they are.
type Event struct {
	Key        string            // the partition key: events of one key stay in order
	Data       []byte            // the payload; the log keeps no reference to it after Append
	Time       int64             // when it happened, in Unix nanoseconds
	Attributes map[string]string // tags of the event, not part of Data

	// Encoded is set by IndexEvent and by nobody else: the event as it came over the wire, of which Key and
	// Data are parts. An append stores it as it is, and Time if it says none.
	Encoded []byte
	timed   bool // Encoded says Time
	tagged  int  // bytes of the attributes' names and values in Encoded

	// Offset and Lane are set by the log when it reads an event; an append ignores them.
	Offset uint64
	Lane   uint8
}

// Size returns the bytes of the payload and of the attributes, names and values. Limits of an event's size and of a
// producer's rate apply to it. The log's counts of a stream include the bytes of payloads alone.
func (e *Event) Size() int {
	n := len(e.Data)
	if e.Encoded != nil {
		return n + e.tagged
	}
	for name, value := range e.Attributes {
		n += len(name) + len(value)
	}
	return n
}

// LaneOf returns the lane of a partition key: the top 6 bits of its MD5, which Kinesis reads as
// a big-endian 128-bit number to choose the shard (Kinesis Data Streams API Reference,
// PutRecordsRequestEntry, November 2026).
func LaneOf(key string) uint8 {
	sum := md5.Sum([]byte(key))
	return sum[0] >> 2
}

// Batch is what one append stores: all of it or nothing.
type Batch struct {
	Stream string
	Events []Event // at least one

	// ProducerID and ProducerSequence, when both are set, let the log recognise a batch that is
	// sent again: it is stored once. Sequences rise by the number of events and start at 1.
	ProducerID       string
	ProducerSequence uint64

	// Awaited says that whoever submits the batch calls Ticket.Wait next, and has nothing else to do meanwhile:
	// Wait may commit it then, and nobody need do so before. Append does this by itself.
	Awaited bool

	// Chain, when set, ties this append to the earlier ones of the same chain: once one of them
	// was not stored, none that follows is.
	Chain *Chain
}

// Chain is the order-safe end of a pipeline of appends: after the first that is not stored,
// every later one of the chain fails with ErrChainBroken. The zero value is ready. Appends of
// one chain are submitted by one goroutine at a time.
type Chain struct {
	broken  bool // belongs to whoever has the committer's turn
	stopped bool // belongs to the submitter's
}

// Appended tells where a batch was stored.
type Appended struct {
	First     uint64 // the stream's offset of the first event
	Count     int
	Duplicate bool // the batch had been stored before; First is the old offset, 0 when that is forgotten
}

// Count is a number of events and the bytes of their payloads.
type Count struct {
	Events, Bytes uint64
}

// Add adds o to c.
func (c *Count) Add(o Count) { c.Events += o.Events; c.Bytes += o.Bytes }

// Sub returns c less o.
func (c Count) Sub(o Count) Count { return Count{c.Events - o.Events, c.Bytes - o.Bytes} }

// beyond returns by how much c exceeds o.
func (c Count) beyond(o Count) Count {
	return Count{c.Events - min(c.Events, o.Events), c.Bytes - min(c.Bytes, o.Bytes)}
}

// OnFull is what an append meets when the log is full.
type OnFull string

// What a full log does: refuse the append, make it wait for room, or drop the oldest events.
const (
	Reject     OnFull = "reject"
	Block      OnFull = "block"
	DropOldest OnFull = "drop_oldest"
)

// CheckpointInterval is the longest that a settlement waits to be synced: after a crash, what
// was delivered within it may be delivered again.
const CheckpointInterval = 250 * time.Millisecond

// Plus returns c and o.
func (c Count) Plus(o Count) Count { return Count{c.Events + o.Events, c.Bytes + o.Bytes} }
