package shipper

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/internal/pack"
)

// The types of records, batches and shards. Their methods are documented where they are declared.
type (
	// Shape describes the records and batches that a destination takes.
	Shape = pack.Shape
	// Record is the unit that a destination counts.
	Record = pack.Record
	// Framing is how events become the bytes of a record.
	Framing = pack.Framing
	// Compression is how a record's framed bytes are compressed.
	Compression = pack.Compression
	// Envelope puts one line of JSON, or an array of MessagePack, around an event.
	Envelope = pack.Envelope
	// Quota is the load that a service takes in a second.
	Quota = pace.Quota
	// Shard is a range of hash keys with a quota of its own.
	Shard = pace.Shard
	// ShardMap maps partition keys to shards; nil where they are unknown.
	ShardMap = pace.ShardMap
	// HashKey is a point of Kinesis's hash-key space.
	HashKey = pace.HashKey
)

// The framings, the compressions, and the formats of the events in an envelope.
const (
	FramingKPL   = pack.FramingKPL
	FramingLines = pack.FramingLines
	FramingNone  = pack.FramingNone

	Plain = pack.Plain
	Gzip  = pack.Gzip
	Zstd  = pack.Zstd

	EnvelopeJSON  = pack.EnvelopeJSON
	EnvelopeText  = pack.EnvelopeText
	EnvelopeBytes = pack.EnvelopeBytes
)

// NewShardMap returns the map of a stream's open shards, in any order, or nil where there are none. It keeps the ranges
// of closed ones to recognize records that lie there.
func NewShardMap(open []Shard, closed ...Shard) *ShardMap { return pace.NewShardMap(open, closed...) }

// HashOf returns the hash key of a partition key.
func HashOf(key string) HashKey { return pace.HashOf(key) }

// Sink is a destination as the shipper uses it. Send may be called from several goroutines at
// once, but never for two batches that share a key (WholeOrder: never twice at once). Shape may be
// called at any time too, also for each event that a listener takes.
type Sink interface {
	// Shape may change between batches, never during the life of one.
	Shape() Shape

	// Send delivers a batch: one request. The records' order within it is theirs per key. ctx ends
	// at the request's timeout. A record that Send reports as stored is acknowledged by the service, or synced where
	// the destination is this host.
	Send(ctx context.Context, batch []Record) Response

	// Close finishes open files and connections. It is called once, after the last Send has returned and after the
	// log holds the last checkpoint.
	Close() error
}

// Sharded is a Sink whose service is made of shards.
type Sharded interface {
	// Shards returns the open shards as far as they are known, or nil. It returns at once.
	Shards() *ShardMap
}

// Keeper is a Sink that keeps a state of its own in the log, beside the checkpoint and in the
// same commit. After a crash it can find the part of its output that the checkpoint covers.
type Keeper interface {
	// State is the state before the first Send. The log gets it at once. So the remains of an
	// unfinished start never count as delivered.
	State() []byte
	// Committed is called after a commit of the log that holds state, which an earlier Reply carried.
	// It must return at once.
	Committed(state []byte)
}

// Response is the outcome of a Send.
type Response struct {
	// Err: the request as a whole failed. Its records may nevertheless have been stored when the
	// error says that the outcome is unknown; the shipper sends them again either way.
	Err *Error
	// Results has one entry a record when Err is nil; a nil entry is a record that is stored.
	Results []*Error
	// Landed names the shard that each record was stored in; "" is unknown. A sink gives it where Shape.ByShard
	// is set, and where a record of one key is in a shard other than the one in the sink's map.
	Landed []string
	// Shards is the newest map beside Landed: where records landed outside the shards of the sink's map, the
	// sink has fetched another. nil: it got none, and has none any more.
	Shards *ShardMap
	// Sent is how many bytes of the request's body went out, for a Sink that shares a Link.
	Sent int
	// Acked is the number of the request's bytes that the peer's host has acknowledged, and Moving the time from the first
	// byte to the last acknowledgement. Moving is 0 where that is unknown or took less than a second.
	Acked  int
	Moving time.Duration
	// Units is the number of requests that the service bills for this one, where it bills requests by their size.
	Units uint64
	// Code is the service's response to the request: an HTTP status, "timeout", "connection"
	// or, for a local destination, "ok" or "error". For metrics.
	Code string
	// State, when not nil, is the Keeper's state once the stored records' checkpoint holds.
	State []byte
}

// Class is the reaction that an error needs.
type Class = backoff.Class

// The classes of error.
const (
	Transient = backoff.Transient // try again, with backoff, for ever
	Throttled = backoff.Throttled // the same, and slow down
	Operator  = backoff.Operator  // an operator must change something: keep everything, try again slowly, report it
	Poison    = backoff.Poison    // the record itself is refused: dead-letter it once it is alone
)

// CodeTimeout is the Code of a request that was not answered in time: its outcome is unknown.
const CodeTimeout = backoff.CodeTimeout

// Error is a destination's refusal or failure.
type Error = backoff.Error

// Retry bounds the delays after failures, and the duration of a request.
type Retry = backoff.Retry
