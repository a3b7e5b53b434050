package pack_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// shapes are the kinds of destinations, with small limits.
func shapes() map[string]pack.Shape {
	kinesis := pack.Shape{Framing: pack.FramingKPL, OneKey: true, MaxRecord: 4096, KeyCounts: true, AimRecord: 2048,
		BatchRecords: 10, MaxBatch: 16 << 10, AimBatch: 12 << 10, BilledStep: 1024, UnitStep: 25 << 10}
	firehose := pack.Shape{Framing: pack.FramingLines, MaxRecord: 4096, AimRecord: 2048, RecordEvents: 20,
		BatchRecords: 10, MaxBatch: 16 << 10, AimBatch: 12 << 10, BilledStep: 5120}
	file := pack.Shape{Framing: pack.FramingLines, WholeOrder: true, MaxRecord: 1 << 20, AimRecord: 8 << 10, BatchRecords: 100, MaxBatch: 64 << 10, BilledStep: 1}
	all := map[string]pack.Shape{"kinesis": kinesis, "firehose": firehose, "file": file}
	change := func(name string, s pack.Shape, f func(*pack.Shape)) { f(&s); all[name] = s }
	change("single", kinesis, func(s *pack.Shape) { s.Framing, s.RecordEvents = pack.FramingNone, 1 })
	change("strict", kinesis, func(s *pack.Shape) { s.BatchRecords = 1 })
	change("one key", firehose, func(s *pack.Shape) { s.OneKey = true })
	change("any order", firehose, func(s *pack.Shape) { s.AnyOrder = true })
	change("key runs", kinesis, func(s *pack.Shape) { s.KeyRuns, s.Framing, s.RecordEvents = true, pack.FramingNone, 1 })
	for _, c := range []pack.Compression{pack.Gzip, pack.Zstd} {
		change(string(c), firehose, func(s *pack.Shape) { s.Compression, s.RecordEvents = c, 0 })
	}
	change("envelope", kinesis, func(s *pack.Shape) { s.Envelope = &pack.Envelope{Log: "l", Stream: "s", Format: pack.EnvelopeText} })
	return all
}

// plain returns the decompressed bytes of one record, or of several that are joined.
func plain(t *testing.T, c pack.Compression, data []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch c {
	case pack.Gzip:
		r, err = gzip.NewReader(r)
	case pack.Zstd:
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// payloads returns the framed events of a record.
func payloads(t *testing.T, shape pack.Shape, r pack.Record) (all [][]byte) {
	t.Helper()
	data := plain(t, shape.Compression, r.Data)
	switch shape.Framing {
	case pack.FramingLines:
		return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	case pack.FramingKPL:
		groups, aggregated, err := kpl.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if aggregated {
			for _, g := range groups {
				all = append(all, g.Payloads...)
			}
			return all
		}
	}
	return [][]byte{data}
}

// events returns n events with payloads "KEY N ...", N counting from 1 in its key.
func events(random *rand.Rand, n, keys, size int, noise bool) []wal.Event {
	all, count := make([]wal.Event, n), make(map[string]int)
	for i := range all {
		key := fmt.Sprint("k", random.IntN(keys))
		count[key]++
		data := fmt.Appendf(nil, "%s %d %s", key, count[key], strings.Repeat("a", random.IntN(size)))
		if noise {
			for j := len(key) + 8; j < len(data); j++ {
				data[j] = byte(128 + random.IntN(128))
			}
		}
		all[i] = wal.Event{Key: key, Data: data, Time: 1, Offset: uint64(i) + 1, Lane: wal.LaneOf(key)}
	}
	return all
}

// drain packs all events into batches, checks each batch against its shape, and returns the records of all.
func drain(t *testing.T, shape pack.Shape, events []wal.Event, align bool) (records []pack.Record) {
	t.Helper()
	queues := make(map[int][]wal.Event)
	for _, e := range events {
		lane := int(e.Lane)
		if shape.WholeOrder {
			lane = 0
		}
		queues[lane] = append(queues[lane], e)
	}
	var builder pack.Builder
	var ratio pack.Ratio
	for len(queues) > 0 {
		b := builder.New(shape, nil, nil, &ratio)
		for _, lane := range slices.Sorted(maps.Keys(queues)) {
			if retry := b.Add(pack.Lane{Index: lane, Queue: queues[lane], Limit: math.MaxUint64}); !retry.IsZero() {
				t.Fatalf("a pace without a limit opens at %v", retry)
			}
		}
		b.Seal()
		if align {
			b.Align(false, func(int, *wal.Event) bool { return true })
		}
		if b.Empty() {
			t.Fatalf("an empty batch, with %d lanes left", len(queues))
		}
		batch := b.Records()
		checkBatch(t, b, batch)
		records = append(records, batch...)
		for _, s := range b.Shares() {
			queue := queues[s.Lane][len(s.Events):]
			for i := len(s.Events) - 1; i >= 0; i-- {
				if s.Record(i) < 0 {
					queue = slices.Concat([]wal.Event{s.Events[i]}, queue)
				}
			}
			if queues[s.Lane] = queue; len(queue) == 0 {
				delete(queues, s.Lane)
			}
		}
	}
	return records
}

func checkBatch(t *testing.T, b *pack.Batch, records []pack.Record) {
	t.Helper()
	shape := b.Shape()
	if len(records) != b.Len() || len(records) > shape.BatchRecords {
		t.Errorf("%d records of %d, at most %d", len(records), b.Len(), shape.BatchRecords)
	}
	events, size := 0, 0
	keys := make(map[string]bool)
	for i, r := range records {
		events += r.Events
		size += shape.Counted(&r)
		if got := shape.Counted(&r); got > shape.MaxRecord {
			t.Errorf("a record of %d bytes, at most %d", got, shape.MaxRecord)
		}
		if r.Events != b.RecordEvents(i) || shape.RecordEvents > 0 && r.Events > shape.RecordEvents {
			t.Errorf("record %d has %d events, said are %d, at most %d", i, r.Events, b.RecordEvents(i), shape.RecordEvents)
		}
		if shape.Compression == pack.Plain && len(r.Data) != b.FramedSize(i) {
			t.Errorf("record %d has %d bytes, said are %d", i, len(r.Data), b.FramedSize(i))
		}
		if shape.OneKey && keys[r.Key] && !shape.AnyOrder && !shape.KeyRuns {
			t.Errorf("key %q has two records in a batch", r.Key)
		}
		keys[r.Key] = true
	}
	if events != b.Events() {
		t.Errorf("the records hold %d events, the batch %d", events, b.Events())
	}
	if size > shape.MaxBatch && len(records) > 1 {
		t.Errorf("a batch of %d bytes, at most %d", size, shape.MaxBatch)
	}
}

// Batches of any destination hold every event once, in the order of its key, within the limits of records and requests.
func TestBatch_HoldsEveryEventOnceWithinTheLimits(t *testing.T) {
	for name, shape := range shapes() {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				all := events(random, 600, 1+random.IntN(60), []int{1, 40, 900}[random.IntN(3)], shape.Envelope == nil && random.IntN(2) == 0)
				if shape.Framing == pack.FramingLines {
					for i := range all {
						all[i].Data = bytes.ReplaceAll(all[i].Data, []byte("\n"), []byte("x"))
					}
				}
				next, found := make(map[string]int), make(map[string]bool)
				for _, r := range drain(t, shape, all, seed%2 == 0) {
					for _, p := range payloads(t, shape, r) {
						if shape.Envelope != nil {
							_, after, _ := bytes.Cut(p, []byte(`"data":"`))
							p = after
						}
						var key string
						var n int
						if _, err := fmt.Sscanf(string(p), "%s %d", &key, &n); err != nil {
							t.Fatalf("%q: %v", p, err)
						}
						if shape.OneKey && key != r.Key {
							t.Errorf("a record of key %q holds an event of %q", r.Key, key)
						}
						if next[key]++; n != next[key] && !shape.AnyOrder {
							t.Fatalf("key %q: event %d where %d is next", key, n, next[key])
						}
						id := fmt.Sprint(key, " ", n)
						if found[id] {
							t.Errorf("event %s is there twice", id)
						}
						found[id] = true
					}
				}
				if len(found) != len(all) {
					t.Errorf("%d of %d events are in records", len(found), len(all))
				}
			})
		}
	}
}

// A record stays within its limit when its events do not shrink. Joined records are one valid file.
func TestCompression_RecordsFitAndJoin(t *testing.T) {
	for _, c := range []pack.Compression{pack.Gzip, pack.Zstd} {
		for _, noise := range []bool{false, true} {
			shape := pack.Shape{Framing: pack.FramingLines, MaxRecord: 1000 << 10, AimRecord: 1000 << 10, BatchRecords: 500, MaxBatch: 4 << 20,
				BilledStep: 5 << 10, Compression: c}
			all := events(rand.New(rand.NewPCG(1, 2)), 4000, 50, 2000, noise)
			for i := range all {
				all[i].Data = bytes.ReplaceAll(all[i].Data, []byte("\n"), []byte("x"))
			}
			var joined []byte
			for _, r := range drain(t, shape, all, false) {
				joined = append(joined, r.Data...)
			}
			if got := bytes.Count(plain(t, c, joined), []byte("\n")); got != len(all) {
				t.Errorf("%s, noise %v: %d lines in the joined records, want %d", c, noise, got, len(all))
			}
		}
	}
}

// Align leaves out the events that would barely begin another billed step, and no others.
func TestBatch_AlignEndsRecordsAtABilledStep(t *testing.T) {
	shape := pack.Shape{Framing: pack.FramingLines, MaxRecord: 1 << 20, AimRecord: 1 << 20, BatchRecords: 1, MaxBatch: 1 << 20, BilledStep: 1000}
	var all []wal.Event
	for i := range 31 { // 31 events of 100 bytes with their newlines: 100 bytes beyond three steps
		all = append(all, wal.Event{Key: "k", Data: bytes.Repeat([]byte("x"), 99), Offset: uint64(i) + 1})
	}
	var builder pack.Builder
	for _, free := range []bool{true, false} {
		b := builder.New(shape, nil, nil, new(pack.Ratio))
		b.Add(pack.Lane{Queue: all, Limit: math.MaxUint64})
		b.Seal()
		b.Align(false, func(int, *wal.Event) bool { return free })
		if want := map[bool]int{true: 30, false: 31}[free]; b.Events() != want || b.FramedSize(0) != 100*want {
			t.Errorf("events may stay %v: %d events of %d bytes are in the batch, want %d", free, b.Events(), b.FramedSize(0), want)
		}
	}
}

func TestShare_DropsBelowAnOffset(t *testing.T) {
	all := events(rand.New(rand.NewPCG(1, 1)), 10, 1, 10, false)
	var builder pack.Builder
	b := builder.New(shapes()["kinesis"], nil, nil, new(pack.Ratio))
	b.Add(pack.Lane{Queue: all, Limit: 9})
	b.Seal()
	s := &b.Shares()[0]
	if len(s.Events) != 8 {
		t.Fatalf("%d events below offset 9", len(s.Events))
	}
	s.DropBelow(4)
	if len(s.Events) != 5 || s.Events[0].Offset != 4 || s.Record(0) != 0 {
		t.Errorf("%d events are left, from offset %d in record %d; want 5 from 4 in 0", len(s.Events), s.Events[0].Offset, s.Record(0))
	}
}
