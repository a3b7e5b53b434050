package shipper

import (
	"context"
	"fmt"
	"time"

	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// Record is what a destination counts as one: the framed events of one key, or, where the
// destination has no keys, of several.
type Record struct {
	Key   string // the partition key; of the first event where the record packs several keys
	First uint64 // offset of the first event
	Last  uint64 // offset of the last event
	// Events is the number of events in Data, at least one.
	Events int
	Data   []byte // framed and compressed as the Shape says; the sink keeps no reference to it after Send
}

// Framing is how events become the bytes of a record.
type Framing string

// The framings: KPL's aggregated format, one line an event (each ends with a newline), and one
// event a record as it is.
const (
	FramingKPL   Framing = "kpl"
	FramingLines Framing = "lines"
	FramingNone  Framing = "none"
)

// Shape is what a destination takes: the shipper keeps every record and batch within it.
type Shape struct {
	Framing Framing
	// OneKey: a record holds events of one key only, and goes out under that key.
	OneKey bool
	// ByShard, beside OneKey and FramingKPL: a record may hold events of several keys that lie in one shard,
	// where the sink is Sharded and its shards are known, and goes out under the first of them.
	ByShard bool
	// WholeOrder: events go out in the order of the log, whatever their key (one lane for all).
	WholeOrder bool
	// AnyOrder: the order of a key's events does not matter, so a batch may hold several records of
	// one key, and what failed may arrive after what was stored beside it.
	AnyOrder bool

	// Envelope, when not nil, puts a line of JSON around each event before it is framed.
	Envelope *Envelope
	// Compression is of each record's framed bytes. Bytes are limited and billed compressed, but since it is
	// not known before how far a record shrinks, it is kept within its limits also if it does not; only
	// AimRecord is what it is expected to be afterwards.
	Compression Compression

	MaxRecord    int  // bytes of a record at most, framing included
	KeyCounts    bool // the partition key's bytes count in MaxRecord and MaxBatch
	AimRecord    int  // bytes of a record to aim for
	RecordEvents int  // events in a record at most; 0: no limit
	BatchRecords int  // records in a batch at most; with 1 and OneKey each request carries one key
	InFlight     int  // requests at once unless the options say so; 0: the shipper's default
	MaxBatch     int  // bytes of a batch at most
	AimBatch     int  // bytes of a batch to aim for: more are not waited for

	// Quota is what the service takes in a second: each shard of a Sharded sink, or the whole of another.
	Quota Quota

	BilledStep int // the service bills each record's bytes rounded up to this; 1: the bytes sent
	UnitStep   int // put payload units of this many bytes are counted beside it; 0: none
}

// oneKeyed tells whether a request carries one record of one key.
func (s *Shape) oneKeyed() bool { return s.OneKey && s.BatchRecords == 1 }

// Room returns the bytes that e's payload may have at most for e to fit a record: under its key and, in an
// envelope, beside all else that it carries.
func (s *Shape) Room(e *wal.Event) int {
	room := s.framedMost()
	if s.KeyCounts {
		room -= len(e.Key)
	}
	switch s.Framing {
	case FramingLines:
		room-- // the newline
	case FramingKPL:
		room -= s.wrapping(e)
	}
	return room - s.eventSize(e) + len(e.Data)
}

// wrapping returns the bytes that KPL's format puts around e where it is alone in a record: none, unless it begins as
// an aggregated record does.
func (s *Shape) wrapping(e *wal.Event) int {
	if s.Envelope != nil {
		return 0
	}
	sizer := kpl.NewSizer(len(e.Key))
	sizer.Add(0, e.Data)
	return sizer.Size() - len(e.Data)
}

// eventSize returns the bytes of e before it is framed.
func (s *Shape) eventSize(e *wal.Event) int {
	if s.Envelope == nil {
		return len(e.Data)
	}
	return s.Envelope.Size(e)
}

// appendEvent appends e as it is before it is framed.
func (s *Shape) appendEvent(dst []byte, e *wal.Event) []byte {
	if s.Envelope == nil {
		return append(dst, e.Data...)
	}
	return s.Envelope.Append(dst, e)
}

// Billed returns what the service bills for a record whose counted size is n bytes, and the put
// payload units of it.
func (s *Shape) Billed(n int) (bytes, units uint64) {
	step := max(s.BilledStep, 1)
	bytes = uint64((n + step - 1) / step * step)
	if s.UnitStep > 0 {
		units = uint64((n + s.UnitStep - 1) / s.UnitStep)
	}
	return bytes, units
}

// Sink is a destination as the shipper uses it. Send may be called from several goroutines at
// once, but never for two batches that share a key (WholeOrder: never twice at once). Shape may be
// called at any time too, also for each event that a listener takes.
type Sink interface {
	// Shape may change between batches, never during the life of one.
	Shape() Shape

	// Send delivers a batch: one request. The records' order within it is theirs per key. ctx ends
	// at the request's timeout. What Send reports as stored is stored: acknowledged by the service,
	// synced where the destination is this host.
	Send(ctx context.Context, batch []Record) Response

	// Close finishes what is open. It is called once, after the last Send has returned and after the
	// log holds the last checkpoint.
	Close() error
}

// Keeper is a Sink that keeps a state of its own in the log, beside the checkpoint and in the
// same commit, so that after a crash it can tell what the checkpoint vouches for.
type Keeper interface {
	// State is the state before the first Send. The log gets it at once, so that what an unfinished
	// start left behind is never taken for delivered.
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
	// Code is what the service answered for the request: an HTTP status, "timeout", "connection"
	// or, for a local destination, "ok" or "error". For metrics.
	Code string
	// State, when not nil, is the Keeper's state once the stored records' checkpoint holds.
	State []byte
}

// Class says what an error asks for.
type Class uint8

// The classes of error.
const (
	Transient Class = iota // try again, with backoff, for ever
	Throttled              // the same, and slow down
	Operator               // somebody must change something: keep everything, try again slowly, say so
	Poison                 // the record itself is refused: dead-letter it once it is alone
)

func (c Class) String() string {
	return [...]string{"transient", "throttled", "operator", "poison"}[c]
}

// CodeTimeout is the Code of a request that was not answered in time: its outcome is unknown.
const CodeTimeout = "timeout"

// Error is a destination's refusal or failure.
type Error struct {
	Class Class
	Code  string // the service's code, for example ProvisionedThroughputExceededException
	Text  string // what it said; never a payload
	// Record is the index of the record that the service named in a refused request, or -1.
	Record int
	// TooLarge: a hop on the way to the service does not take a request of that size. Smaller ones may pass; the
	// Class decides how a request of one event is handled.
	TooLarge bool
	// RetryAfter is the service's own delay, a floor for ours; 0: it named none.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Text)
}
