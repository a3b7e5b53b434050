package wal

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
)

const cursorVersion = 1

var errCursor = errors.New("a destination's place is malformed")

// cursorState is a cursor's entry of the state: where each lane stands, the ledger, the destination's own state, and
// the label.
type cursorState struct {
	lanes  [Lanes]Progress
	ledger Ledger
	state  []byte
	label  string
}

// checkpoint returns the first offset that is not settled.
func (c *cursorState) checkpoint() uint64 {
	low := c.lanes[0].Checkpoint
	for _, m := range c.lanes[1:] {
		low = min(low, m.Checkpoint)
	}
	return low
}

// append encodes the entry: every number a uvarint, texts with their length before them, and the lanes' offsets
// relative to the smallest checkpoint.
//
//	version, delivered, dead, n × (reason, count), requests, records, billed bytes, put units,
//	last delivery, state, smallest checkpoint,
//	64 × (checkpoint, n × (first, next)), label unless it is empty
func (c *cursorState) append(b []byte) []byte {
	l := &c.ledger
	b = append(b, cursorVersion)
	b = appendCount(b, l.Delivered)
	b = appendCount(b, l.Dead)
	b = binary.AppendUvarint(b, uint64(len(l.Dropped)))
	for _, reason := range slices.Sorted(maps.Keys(l.Dropped)) {
		b = appendText(b, reason)
		b = appendCount(b, l.Dropped[reason])
	}
	b = appendNumbers(b, l.Requests, l.Records, l.BilledBytes, l.PutUnits, unixNano(l.LastDelivery))
	b = appendText(b, c.state)
	low := c.checkpoint()
	b = binary.AppendUvarint(b, low)
	for i := range c.lanes {
		b = appendMark(b, &c.lanes[i], low)
	}
	if c.label == "" {
		return b
	}
	return appendText(b, c.label)
}

func appendMark(b []byte, m *Progress, low uint64) []byte {
	b = appendNumbers(b, m.Checkpoint-low, uint64(len(m.Settled)))
	for _, r := range m.Settled {
		b = appendNumbers(b, r.First-low, r.Next-low)
	}
	return b
}

// decode decodes the result of append.
func (c *cursorState) decode(b []byte) error {
	if len(b) == 0 || b[0] == 0 {
		return errCursor
	}
	if err := laterVersion("place", uint64(b[0]), cursorVersion); err != nil {
		return err
	}
	d := decoder{b: b[1:]}
	l := &c.ledger
	l.Delivered, l.Dead = d.count(), d.count()
	for range d.length() {
		reason := string(d.text())
		l.drop(reason, d.count())
	}
	l.Requests, l.Records, l.BilledBytes, l.PutUnits = d.number(), d.number(), d.number(), d.number()
	if ns := d.number(); ns > 0 {
		l.LastDelivery = time.Unix(0, int64(ns))
	}
	c.state = slices.Clone(d.text())
	low := d.number()
	for i := range c.lanes {
		c.lanes[i] = d.mark(low)
	}
	if !d.bad && len(d.b) > 0 {
		c.label = string(d.text())
	}
	if d.err() != nil {
		return errCursor
	}
	return nil
}

func (d *decoder) mark(low uint64) Progress {
	m := Progress{Checkpoint: low + d.number()}
	for range d.length() {
		m.Settled = append(m.Settled, Run{low + d.number(), low + d.number()})
	}
	return m
}
