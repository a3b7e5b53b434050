package parquet_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/standpipe/standpipe/shipper/sink/s3/internal/parquet"
	"github.com/standpipe/standpipe/wal"
)

// record is a row as another program reads it.
type record struct {
	Stream     string            `parquet:"stream"`
	Offset     int64             `parquet:"offset"`
	Key        string            `parquet:"key"`
	Time       int64             `parquet:"time,timestamp(microsecond)"`
	Attributes map[string]string `parquet:"attributes"`
	Data       []byte            `parquet:"data"`
}

func TestWriter_KeepsEveryFieldOfEveryEvent(t *testing.T) {
	for _, compression := range []string{"zstd", "gzip", "snappy", "none"} {
		for _, asBytes := range []bool{true, false} {
			for _, size := range []int{1, 10_000, 1 << 20} {
				o := parquet.Options{Stream: "readings", Bytes: asBytes, Compression: compression, RowGroupSize: size}
				events := draw(300, asBytes)
				got := read(t, encode(events, o))
				slices.SortFunc(got, func(a, b record) int { return int(a.Offset - b.Offset) })
				for i, e := range events {
					want := record{"readings", int64(e.Offset), e.Key, e.Time / 1000, e.Attributes, e.Data}
					if len(e.Attributes) == 0 {
						want.Attributes = map[string]string{}
					}
					if len(got[i].Attributes) == 0 {
						got[i].Attributes = map[string]string{}
					}
					if !reflect.DeepEqual(got[i], want) {
						t.Fatalf("%s, %d bytes a row group: got row %+v, want %+v", compression, size, got[i], want)
					}
				}
			}
		}
	}
}

func TestWriter_SortsRowGroupsAndSaysSo(t *testing.T) {
	object := encode(draw(5000, true), parquet.Options{Bytes: true, Compression: "zstd", RowGroupSize: 100_000})
	file := open(t, object)
	if len(file.RowGroups()) < 5 {
		t.Fatalf("got %d row groups, want several", len(file.RowGroups()))
	}
	for n, group := range file.RowGroups() {
		sorting := group.SortingColumns()
		if len(sorting) != 2 || sorting[0].Path()[0] != "key" || sorting[1].Path()[0] != "offset" || sorting[0].Descending() || sorting[1].Descending() {
			t.Fatalf("row group %d: got sorting columns %v, want key, offset", n, sorting)
		}
		rows := make([]record, group.NumRows())
		if _, err := pq.NewGenericRowGroupReader[record](group).Read(rows); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		for i := 1; i < len(rows); i++ {
			a, b := rows[i-1], rows[i]
			if a.Key > b.Key || a.Key == b.Key && a.Offset >= b.Offset {
				t.Fatalf("row group %d: row %d (%q, %d) is before (%q, %d)", n, i, a.Key, a.Offset, b.Key, b.Offset)
			}
		}
	}
}

func TestWriter_IndexesPagesAndFiltersKeys(t *testing.T) {
	var events []wal.Event
	for i := range 20_000 {
		events = append(events, wal.Event{Offset: uint64(i + 1), Key: fmt.Sprintf("sensor-%03d", i%500), Data: []byte(`{"value":1}`)})
	}
	file := open(t, encode(events, parquet.Options{Compression: "zstd", RowGroupSize: 64 << 20}))
	chunk := file.RowGroups()[0].ColumnChunks()[2] // key
	index, err := chunk.ColumnIndex()
	if err != nil || index.NumPages() < 19 {
		t.Fatalf("got an index of %v pages (%v), want 1,024 rows a page", index, err)
	}
	if low, high := index.MinValue(3).String(), index.MaxValue(3).String(); low < "sensor-070" || high > "sensor-110" {
		t.Errorf("fourth page: got keys %s to %s, want a narrow range", low, high)
	}
	for key, want := range map[string]bool{"sensor-042": true, "sensor-0421": false, "nobody": false} {
		if got, err := chunk.BloomFilter().Check(pq.ByteArrayValue([]byte(key))); err != nil || got != want {
			t.Errorf("bloom filter, %s: got %v (%v), want %v", key, got, err, want)
		}
	}
}

func TestWriter_EstimatesTheSize(t *testing.T) {
	var out bytes.Buffer
	w := parquet.NewWriter(&out, parquet.Options{Bytes: true, Compression: "zstd", RowGroupSize: 100_000})
	events := draw(5000, true)
	for i := range events {
		w.Add(&events[i])
	}
	estimate := w.Size()
	w.Finish()
	if got := int64(out.Len()); estimate < got/2 || estimate > 2*got {
		t.Errorf("estimated %d bytes, the object has %d", estimate, got)
	}
}

func TestCheck_FindsWhatAStringCannotHold(t *testing.T) {
	text, raw := parquet.Options{}, parquet.Options{Bytes: true}
	for _, test := range []struct {
		e         wal.Event
		text, raw bool // Check passes
	}{
		{wal.Event{Key: "k", Data: []byte("ä")}, true, true},
		{wal.Event{Key: "k", Data: []byte{0xff}}, false, true},
		{wal.Event{Key: "k\xff"}, false, false},
		{wal.Event{Attributes: map[string]string{"a": "\xff"}}, false, false},
		{wal.Event{Attributes: map[string]string{"\xff": "a"}}, false, false},
	} {
		if got := text.Check(&test.e) == nil; got != test.text {
			t.Errorf("%q as strings: got %v, want %v", test.e.Data, got, test.text)
		}
		if got := raw.Check(&test.e) == nil; got != test.raw {
			t.Errorf("%q as bytes: got %v, want %v", test.e.Data, got, test.raw)
		}
	}
}

// draw returns n events of a few keys with drawn sizes, up to more than a block of the arena.
func draw(n int, binary bool) []wal.Event {
	r := rand.New(rand.NewPCG(uint64(n), 71))
	events := make([]wal.Event, n)
	for i := range events {
		size := r.IntN(200)
		if r.IntN(100) == 0 {
			size = r.IntN(300_000)
		}
		e := wal.Event{Offset: uint64(1000 + 2*i), Key: fmt.Sprint("k", r.IntN(20)), Data: make([]byte, size),
			Time: time.Unix(1_795_176_000, 0).Add(time.Duration(r.IntN(1e9))).UnixNano()}
		for j := range e.Data {
			if e.Data[j] = byte(r.IntN(256)); !binary {
				e.Data[j] = 'a' + e.Data[j]%26
			}
		}
		for range r.IntN(3) {
			if e.Attributes == nil {
				e.Attributes = make(map[string]string)
			}
			e.Attributes[fmt.Sprint("a", r.IntN(5))] = fmt.Sprint(r.IntN(3))
		}
		events[i] = e
	}
	return events
}

func encode(events []wal.Event, o parquet.Options) []byte {
	var out bytes.Buffer
	w := parquet.NewWriter(&out, o)
	for _, e := range events {
		e.Data = bytes.Clone(e.Data)
		w.Add(&e)
		for i := range e.Data { // the writer must have copied it
			e.Data[i] = '!'
		}
	}
	w.Finish()
	return out.Bytes()
}

func open(t *testing.T, object []byte) *pq.File {
	t.Helper()
	file, err := pq.OpenFile(bytes.NewReader(object), int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, object []byte) []record {
	t.Helper()
	rows, err := pq.Read[record](bytes.NewReader(object), int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
