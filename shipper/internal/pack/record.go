package pack

import (
	"slices"
	"sync"

	"github.com/standpipe/standpipe/shipper/internal/pace"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// Record is the unit that a destination counts: the framed events of one key, or, where the destination has no keys, of
// several.
type Record struct {
	Key   string // the partition key; of the first event where the record has several keys
	First uint64 // offset of the first event
	Last  uint64 // offset of the last event
	// Events is the number of events in Data, at least one.
	Events int
	Data   []byte // framed and compressed by the Shape; the sink keeps no reference to it after Send
	// Event is the record's event where the Framing is FramingNone, for sinks that send its time or attributes; else nil.
	// It is read-only, and the sink keeps no reference to it after Send.
	Event *wal.Event
}

// draft is a record in the making.
type draft struct {
	runs   []*keyRun
	events int
	size   int        // framed, without the key
	sizer  kpl.Sizer  // of KPL's format
	part   *pace.Pace // of the part that it belongs to; nil: none
}

// keyRun is the events of one key in a record, or of any keys where the order is the stream's.
type keyRun struct {
	key    string
	record int // index of its draft
	index  int // among the draft's runs, until some of them move
	events []*wal.Event
	size   int // framed

	one [1]*wal.Event // the first array of events: with many keys most runs have one event
}

// Records frames and compresses the batch's records.
func (b *Batch) Records() []Record {
	records := make([]Record, len(b.drafts))
	for i, d := range b.drafts {
		records[i] = d.record(&b.shape)
	}
	return records
}

func (d *draft) record(shape *Shape) Record {
	first := d.runs[0].events[0]
	r := Record{Key: first.Key, First: first.Offset, Last: first.Offset, Events: d.events}
	for _, run := range d.runs {
		r.First = min(r.First, run.events[0].Offset)
		r.Last = max(r.Last, run.events[len(run.events)-1].Offset)
	}
	if shape.Framing == FramingNone {
		r.Event = first
	}
	if shape.Compression == Plain {
		r.Data = d.frame(make([]byte, 0, d.size), shape)
		return r
	}
	framed := framedBytes.Get().(*[]byte)
	defer framedBytes.Put(framed)
	*framed = d.frame(slices.Grow((*framed)[:0], d.size), shape)
	r.Data = shape.Compression.compress(*framed)
	return r
}

// framedBytes holds buffers of the size of a record, for framed bytes that are compressed at once.
var framedBytes = sync.Pool{New: func() any { return new([]byte) }}

// frame appends the record's events: one key's in their order, each on its own line with FramingLines.
func (d *draft) frame(dst []byte, shape *Shape) []byte {
	if shape.Framing == FramingKPL {
		return d.frameKPL(dst, shape)
	}
	for _, run := range d.runs {
		for _, e := range run.events {
			dst = shape.appendEvent(dst, e)
			if shape.Framing == FramingLines && shape.newline() > 0 {
				dst = append(dst, '\n')
			}
		}
	}
	return dst
}

func (d *draft) frameKPL(dst []byte, shape *Shape) []byte {
	groups, payloads := make([]kpl.Group, len(d.runs)), make([][]byte, 0, d.events)
	for i, run := range d.runs {
		for _, e := range run.events {
			data := e.Data
			if shape.Envelope != nil {
				data = shape.Envelope.Append(nil, e)
			}
			payloads = append(payloads, data)
		}
		groups[i] = kpl.Group{Key: run.key, Payloads: payloads[len(payloads)-len(run.events):]}
	}
	return kpl.Append(dst, groups)
}
