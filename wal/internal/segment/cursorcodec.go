package segment

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
)

// CursorVersion is the version of a cursor's entry. An entry without a parking or a pause has version 1, which older
// releases can read.
const CursorVersion = 2

var errCursor = errors.New("a destination's place is malformed")

// CursorState is a cursor's entry of the state: the progress of each lane, the ledger, the destination's own state,
// and the label.
type CursorState struct {
	Lanes  [Lanes]Progress
	Ledger Ledger
	State  []byte
	Label  string

	Parking Parking   // zero: the destination is configured
	Paused  time.Time // an operator paused the destination then; zero: it is not paused
}

// Checkpoint returns the lowest checkpoint of the lanes: every event with a smaller offset is settled.
func (c *CursorState) Checkpoint() uint64 {
	low := c.Lanes[0].Checkpoint
	for _, m := range c.Lanes[1:] {
		low = min(low, m.Checkpoint)
	}
	return low
}

// Append encodes the entry. Every number is a uvarint, texts have their length before them, and the lanes' offsets are
// relative to the smallest checkpoint.
//
//	version, delivered, dead, n × (reason, count), requests, records, billed bytes, put units,
//	last delivery, state, smallest checkpoint,
//	64 × (checkpoint, n × (first, next)), label unless it is empty
//
// In version 2 the label is there also if it is empty, and these follow:
//
//	next, bytes and time of the parking, 1 if it is forgotten, time of the pause
func (c *CursorState) Append(b []byte) []byte {
	l := &c.Ledger
	version := byte(1)
	if c.Parking != (Parking{}) || !c.Paused.IsZero() {
		version = 2
	}
	b = append(b, version)
	b = appendCount(b, l.Delivered)
	b = appendCount(b, l.Dead)
	b = binary.AppendUvarint(b, uint64(len(l.Dropped)))
	for _, reason := range slices.Sorted(maps.Keys(l.Dropped)) {
		b = AppendText(b, reason)
		b = appendCount(b, l.Dropped[reason])
	}
	b = AppendNumbers(b, l.Requests, l.Records, l.BilledBytes, l.PutUnits, UnixNano(l.LastDelivery))
	b = AppendText(b, c.State)
	low := c.Checkpoint()
	b = binary.AppendUvarint(b, low)
	for i := range c.Lanes {
		b = appendMark(b, &c.Lanes[i], low)
	}
	if version == 1 && c.Label == "" {
		return b
	}
	b = AppendText(b, c.Label)
	if version == 1 {
		return b
	}
	forgotten := uint64(0)
	if c.Parking.Forgotten {
		forgotten = 1
	}
	return AppendNumbers(b, c.Parking.Next, c.Parking.Bytes, UnixNano(c.Parking.At), forgotten, UnixNano(c.Paused))
}

func appendMark(b []byte, m *Progress, low uint64) []byte {
	b = AppendNumbers(b, m.Checkpoint-low, uint64(len(m.Settled)))
	for _, r := range m.Settled {
		b = AppendNumbers(b, r.First-low, r.Next-low)
	}
	return b
}

// Decode decodes the result of Append.
func (c *CursorState) Decode(b []byte) error {
	if len(b) == 0 || b[0] == 0 {
		return errCursor
	}
	if err := LaterVersion("place", uint64(b[0]), CursorVersion); err != nil {
		return err
	}
	d := Decoder{Rest: b[1:]}
	l := &c.Ledger
	l.Delivered, l.Dead = d.count(), d.count()
	for range d.length() {
		reason := string(d.Text())
		l.Drop(reason, d.count())
	}
	l.Requests, l.Records, l.BilledBytes, l.PutUnits = d.Number(), d.Number(), d.Number(), d.Number()
	l.LastDelivery = d.time()
	c.State = slices.Clone(d.Text())
	low := d.Number()
	for i := range c.Lanes {
		c.Lanes[i] = d.mark(low)
	}
	if !d.Bad && len(d.Rest) > 0 {
		c.Label = string(d.Text())
	}
	if b[0] > 1 {
		c.Parking = Parking{Next: d.Number(), Bytes: d.Number(), At: d.time(), Forgotten: d.Number() != 0}
		c.Paused = d.time()
	}
	if d.err() != nil {
		return errCursor
	}
	return nil
}

func (d *Decoder) mark(low uint64) Progress {
	m := Progress{Checkpoint: low + d.Number()}
	for range d.length() {
		m.Settled = append(m.Settled, Run{low + d.Number(), low + d.Number()})
	}
	return m
}
