package kafka_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

type event = wal.Event

// drawEvents draws events of a few keys, with data and attributes of any kind. Their offsets ascend from 1.
func drawEvents(t *testing.T, n int) []event {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 7))
	t.Logf("%d events", n)
	events := make([]event, n)
	for i := range events {
		e := event{Offset: uint64(i + 1), Key: fmt.Sprintf("κλειδί-%d", r.IntN(40)), Time: time.Now().UnixNano() - r.Int64N(1e15), Data: drawBytes(r, 300)}
		if r.IntN(2) == 0 {
			e.Attributes = make(map[string]string)
			for range r.IntN(4) {
				e.Attributes[fmt.Sprintf("a%d", r.IntN(9))] = string(drawBytes(r, 40))
			}
		}
		events[i] = e
	}
	return events
}

func drawBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}

// recordsOf returns the records that the shipper makes of the events.
func recordsOf(events []event) []shipper.Record {
	records := make([]shipper.Record, len(events))
	for i := range events {
		e := &events[i]
		records[i] = shipper.Record{Key: e.Key, First: e.Offset, Last: e.Offset, Events: 1, Data: e.Data, Event: e}
	}
	return records
}

// checkRecords checks that the last records of each partition are the events, in the order of their keys.
func checkRecords(t *testing.T, records []*kgo.Record, events []event, partitions int) {
	t.Helper()
	byOffset := make(map[uint64]*event, len(events))
	for i := range events {
		byOffset[events[i].Offset] = &events[i]
	}
	last := make(map[string]uint64)
	seen := make(map[uint64]*kgo.Record)
	for _, r := range records {
		offset := idOffset(t, r)
		seen[offset] = r
		last[string(r.Key)] = offset
	}
	for offset, e := range byOffset {
		r := seen[offset]
		switch {
		case r == nil:
			t.Errorf("event %d is not stored", offset)
		case string(r.Key) != e.Key || !bytes.Equal(r.Value, e.Data) || r.Timestamp.UnixMilli() != e.Time/1e6:
			t.Errorf("event %d: got key %q, %d bytes, time %v", offset, r.Key, len(r.Value), r.Timestamp)
		case r.Partition != partitionOfKey(t, e.Key, partitions):
			t.Errorf("event %d of key %q is in partition %d", offset, e.Key, r.Partition)
		default:
			checkHeaders(t, r, e)
		}
	}
}

func checkHeaders(t *testing.T, r *kgo.Record, e *event) {
	t.Helper()
	got := make(map[string]string)
	for _, h := range r.Headers {
		got[h.Key] = string(h.Value)
	}
	if want := fmt.Sprintf("LOG/clicks/%d", e.Offset); got["standpipe-id"] != want {
		t.Errorf("got standpipe-id %q, want %q", got["standpipe-id"], want)
	}
	if len(r.Headers) != len(e.Attributes)+1 {
		t.Errorf("got %d headers, want %d", len(r.Headers), len(e.Attributes)+1)
	}
	for name, value := range e.Attributes {
		if got[name] != value {
			t.Errorf("header %q: got %q, want %q", name, got[name], value)
		}
	}
}

// checkOrder checks that the records of each key are the events, in their order; an event may be there again.
func checkOrder(t *testing.T, records []*kgo.Record, events []event) (repeated int) {
	t.Helper()
	want := make(map[string][]uint64)
	for _, e := range events {
		want[e.Key] = append(want[e.Key], e.Offset)
	}
	got := make(map[string][]uint64)
	for _, r := range records {
		key, offset := string(r.Key), idOffset(t, r)
		if n := len(got[key]); n > 0 && offset <= got[key][n-1] {
			repeated++
			continue
		}
		got[key] = append(got[key], offset)
	}
	for key, offsets := range want {
		if !slices.Equal(got[key], offsets) {
			t.Errorf("key %q: got %v, want %v", key, got[key], offsets)
		}
	}
	return repeated
}

// checkOnce checks the same, and that no event is there twice.
func checkOnce(t *testing.T, records []*kgo.Record, events []event) {
	t.Helper()
	if n := checkOrder(t, records, events); n > 0 {
		t.Errorf("got %d events again", n)
	}
}
