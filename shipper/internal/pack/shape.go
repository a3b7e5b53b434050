package pack

import (
	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// Framing is the format in which events form the bytes of a record.
type Framing string

// The framings: KPL's aggregated format, one line an event (each ends with a newline; with Envelope.MsgPack none does), and
// one event a record as it is.
const (
	FramingKPL   Framing = "kpl"
	FramingLines Framing = "lines"
	FramingNone  Framing = "none"
)

// Shape describes the records and batches that a destination takes: the shipper keeps every record and batch within it.
type Shape struct {
	Framing Framing
	// OneKey: a record holds events of one key only, and goes out under that key.
	OneKey bool
	// ByShard, beside OneKey and FramingKPL: a record may hold events of several keys that lie in one shard,
	// where the sink is Sharded and its shards are known, and goes out under the first of them.
	ByShard bool
	// WholeOrder: events go out in the order of their offsets, those of all keys together (one lane for all).
	WholeOrder bool
	// AnyOrder: the order of a key's events does not matter, so a batch may hold several records of
	// one key, and failed events may arrive after events that were stored beside them.
	AnyOrder bool
	// KeyRuns, beside OneKey: a batch may hold several records of one key, in their order. If the sink does not store one
	// of them, it stores none of that key behind it.
	KeyRuns bool

	// Envelope, when not nil, puts a line of JSON or an array of MessagePack around each event before it is framed.
	Envelope *Envelope
	// Compression is applied to each record's framed bytes. Bytes are limited and billed compressed. The compressed
	// size is not known in advance, so a record stays within its limits even if it does not shrink. Only AimRecord is
	// the expected compressed size.
	Compression Compression

	MaxRecord    int  // bytes of a record at most, framing included
	KeyCounts    bool // the partition key's bytes count in MaxRecord and MaxBatch
	HeaderBytes  int  // each attribute is a header: its name, value and so many bytes count in MaxRecord; 0: it is none
	AimRecord    int  // bytes of a record to aim for
	RecordEvents int  // events in a record at most; 0: no limit
	BatchRecords int  // records in a batch at most; with 1 and OneKey each request carries one key
	InFlight     int  // requests at once unless the options set it; 0: the shipper's default
	MaxBatch     int  // bytes of a batch at most
	AimBatch     int  // bytes of a batch to aim for; a batch of that size does not wait for more

	// Quota is the load that the service takes in a second: from each shard of a Sharded sink, or in all.
	Quota pace.Quota

	BilledStep int // the service bills each record's bytes rounded up to this; 1: the bytes sent
	UnitStep   int // size in bytes of a put payload unit, which is counted too; 0: none

	// RequestStep: the service bills requests by their size, one for each such number of bytes or a part of that. The sink
	// counts them (Response.Units); a forecast uses this. 0: it does not.
	RequestStep int
}

// OneKeyed reports whether a request carries one record of one key.
func (s *Shape) OneKeyed() bool { return s.OneKey && s.BatchRecords == 1 }

// Aim returns the bytes of a batch to aim for.
func (s *Shape) Aim() int {
	if s.AimBatch > 0 {
		return s.AimBatch
	}
	return s.MaxBatch
}

// Room returns the largest payload in bytes with which e fits a record, under its key and, in an envelope or as headers,
// beside its attributes.
func (s *Shape) Room(e *wal.Event) int {
	room := s.framedMost()
	if s.KeyCounts {
		room -= len(e.Key)
	}
	if s.HeaderBytes > 0 {
		for name, value := range e.Attributes {
			room -= s.HeaderBytes + len(name) + len(value)
		}
	}
	switch s.Framing {
	case FramingLines:
		room -= s.newline()
	case FramingKPL:
		room -= s.wrapping(e)
	}
	if s.Envelope != nil && s.Envelope.MsgPack {
		return room - s.Envelope.msgpackMost(room)
	}
	return room - s.eventSize(e) + len(e.Data)
}

// newline returns the number of bytes between two lines. MessagePack separates events by itself.
func (s *Shape) newline() int {
	if s.Envelope != nil && s.Envelope.MsgPack {
		return 0
	}
	return 1
}

// wrapping returns the number of bytes that KPL's format adds to e if e is alone in a record: none, unless e begins
// like an aggregated record.
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

// Counted returns the bytes of a record that the service counts.
func (s *Shape) Counted(r *Record) int {
	if s.KeyCounts {
		return len(r.Data) + len(r.Key)
	}
	return len(r.Data)
}

// Billed returns the bytes that the service bills for a record whose counted size is n bytes, and its put
// payload units.
func (s *Shape) Billed(n int) (bytes, units uint64) {
	step := max(s.BilledStep, 1)
	bytes = uint64((n + step - 1) / step * step)
	if s.UnitStep > 0 {
		units = uint64((n + s.UnitStep - 1) / s.UnitStep)
	}
	return bytes, units
}

// Widen raises the size to aim for as far beyond AimRecord as recent records shrank, less a tenth, but never over the
// size that must fit if a record does not shrink at all.
func (s *Shape) Widen(r *Ratio) {
	if s.Compression == Plain {
		return
	}
	s.AimRecord = int(min(float64(s.AimRecord)*max(r.Value()*0.9, 1), float64(s.framedMost())))
}

// framedMost returns the largest size in bytes of a record before compression.
func (s *Shape) framedMost() int { return s.MaxRecord - s.Compression.overhead(s.MaxRecord) }
