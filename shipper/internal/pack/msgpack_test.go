package pack_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/wal"
)

// tuple is an event as a consumer of MessagePack reads it.
type tuple struct {
	_msgpack struct{} `msgpack:",as_array"` //lint:ignore U1000 the decoder reads its tag
	Stream   string
	Time     int64
	Data     []byte
}

func TestMsgpack_DecodesToTheEvent(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 123_999_999, time.UTC)
	for _, stream := range []string{"s", strings.Repeat("s", 31), strings.Repeat("s", 32), strings.Repeat("s", 128), strings.Repeat("s", 300)} {
		for _, size := range []int{0, 1, 31, 255, 256, 65_535, 65_536, 1_000_000} {
			v := &pack.Envelope{Stream: stream, Format: pack.EnvelopeJSON, MsgPack: true}
			e := &wal.Event{Key: "k", Data: bytes.Repeat([]byte("\n"), size), Time: at.UnixNano(), Offset: 17, Attributes: map[string]string{"a": "b"}}
			got := v.Append([]byte("before"), e)[len("before"):]
			if len(got) != v.Size(e) {
				t.Fatalf("stream of %d bytes, data of %d: got %d bytes, Size is %d", len(stream), size, len(got), v.Size(e))
			}
			var event tuple
			if err := msgpack.Unmarshal(got, &event); err != nil {
				t.Fatal(err)
			}
			if event.Stream != stream || event.Time != at.UnixMilli() || !bytes.Equal(event.Data, e.Data) {
				t.Errorf("stream of %d bytes, data of %d: got %d bytes, %d, %d bytes", len(stream), size, len(event.Stream), event.Time, len(event.Data))
			}
		}
	}
}

func TestMsgpack_TimeBefore1970(t *testing.T) {
	v := &pack.Envelope{Stream: "s", MsgPack: true}
	var event tuple
	if err := msgpack.Unmarshal(v.Append(nil, &wal.Event{Time: -1}), &event); err != nil || event.Time != -1 {
		t.Errorf("got %d, %v, want -1: the millisecond that has begun", event.Time, err)
	}
}

// A decoder reads one event after another: no line break separates them.
func TestMsgpack_StandOneBehindAnother(t *testing.T) {
	for _, framing := range []pack.Framing{pack.FramingLines, pack.FramingNone} {
		var builder pack.Builder
		batch := builder.New(pack.Shape{
			Framing: framing, WholeOrder: framing == pack.FramingLines, OneKey: framing == pack.FramingNone,
			Envelope:  &pack.Envelope{Stream: "s", MsgPack: true},
			MaxRecord: 1000, AimRecord: 1000, MaxBatch: 10_000, BatchRecords: 10, BilledStep: 1,
		}, nil, nil, new(pack.Ratio))
		events := []wal.Event{{Key: "a", Data: []byte("one\n"), Offset: 1}, {Key: "b", Data: []byte("two"), Offset: 2}, {Key: "c", Offset: 3}}
		batch.Add(pack.Lane{Queue: events, Limit: 4})
		batch.Seal()
		var all []byte
		for _, r := range batch.Records() {
			all = append(all, r.Data...)
		}
		decoder := msgpack.NewDecoder(bytes.NewReader(all))
		for _, e := range events {
			var event tuple
			if err := decoder.Decode(&event); err != nil || !bytes.Equal(event.Data, e.Data) {
				t.Errorf("%s: got %q, %v, want %q", framing, event.Data, err, e.Data)
			}
		}
		if decoder.Decode(new(tuple)) == nil {
			t.Errorf("%s: more than the events: %q", framing, all)
		}
	}
}

// Listeners reject events beyond Room: data of that size fit, and hardly any larger ones do.
func TestMsgpack_RoomFits(t *testing.T) {
	for _, framing := range []pack.Framing{pack.FramingKPL, pack.FramingLines, pack.FramingNone} {
		for most := 100; most < 70_000; most += 97 {
			s := pack.Shape{Framing: framing, MaxRecord: most, KeyCounts: true, Envelope: &pack.Envelope{Stream: "clicks", MsgPack: true}}
			e := &wal.Event{Key: "key", Data: []byte("x"), Offset: 1}
			room := s.Room(e)
			e.Data = make([]byte, room)
			if size := s.Envelope.Size(e) + len(e.Key); size > most || size < most-2 {
				t.Errorf("%s: %d bytes of data take %d, want at most %d", framing, room, size, most)
			}
		}
	}
}
