package grpcin

import (
	"bytes"
	"maps"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/timeline"
)

// inPieces cuts b as the wire may.
func inPieces(b []byte, size int) (s mem.BufferSlice) {
	for len(b) > 0 {
		n := min(max(1, size), len(b))
		s = append(s, mem.SliceBuffer(b[:n:n]), mem.SliceBuffer{})
		b = b[n:]
	}
	return s
}

const testNow = 77

// meaning returns e as the WAL reads it back.
func meaning(t *testing.T, e *wal.Event) *standpipev1.Event {
	t.Helper()
	m := &standpipev1.Event{PartitionKey: e.Key, Data: e.Data, TimeUnixNano: e.Time, Attributes: e.Attributes}
	if e.Encoded == nil {
		return m
	}
	var whole standpipev1.Event
	if err := proto.Unmarshal(e.Encoded, &whole); err != nil {
		if utf8.ValidString(e.Key) {
			t.Fatalf("an event is taken that is none: %v", err)
		}
		return m // and is refused for its key
	}
	m.Attributes = whole.Attributes
	if said := whole.TimeUnixNano; said != 0 {
		m.TimeUnixNano = said
	}
	if !bytes.Equal(whole.Data, m.Data) || whole.PartitionKey != m.PartitionKey || m.TimeUnixNano != e.Time {
		t.Fatalf("indexed %v, encoded is %v", m, &whole)
	}
	return m
}

func readWire(message []byte, size int) (*intake.Request, *intake.Rejection) {
	r, w := new(intake.Request), wireReader{decoding: budget.New(intake.MaxDecoded)}
	refused := w.read(inPieces(message, size), r, timeline.Stamp{At: testNow})
	return r, refused
}

// FuzzWire: a request means the same as to proto.Unmarshal, in pieces of any size.
func FuzzWire(f *testing.F) {
	for _, message := range wireSamples() {
		f.Add(message, uint16(len(message)))
		f.Add(message, uint16(1))
		f.Add(message, uint16(7))
	}
	f.Fuzz(func(t *testing.T, message []byte, size uint16) {
		given := bytes.Clone(message)
		r, refused := readWire(message, int(size))
		if !bytes.Equal(message, given) {
			t.Fatal("the message was written to")
		}
		counted := new(wireReader).count(inPieces(message, int(size)))
		if counted != new(wireReader).count(inPieces(message, len(message))) || counted < len(r.Batch.Events) {
			t.Fatalf("%d events are counted, %d are read", counted, len(r.Batch.Events))
		}
		var want standpipev1.AppendRequest
		if err := proto.Unmarshal(message, &want); err != nil {
			if refused == nil && !hasBrokenKey(r) {
				t.Fatalf("taken, but %v", err)
			}
			if refused != nil && (refused.Code != codes.InvalidArgument || !utf8.ValidString(refused.Text) || refused.Reason == "") {
				t.Fatalf("refused with %+v", refused)
			}
			return
		}
		if refused != nil {
			t.Fatalf("refused: %v", refused)
		}
		sameRequest(t, r, &want)
		if counted != len(want.Events) {
			t.Errorf("%d events are counted, want %d", counted, len(want.Events))
		}
	})
}

// TestWire_DecodedMessagesShareABudget: the events and attributes that package proto decodes are counted before.
func TestWire_DecodedMessagesShareABudget(t *testing.T) {
	const unknown = "\x32\x00"
	event := "\x12" + string(rune(2*20+len(unknown))) + strings.Repeat("\x22\x00", 20) + unknown // 20 attributes
	for name, c := range map[string]struct {
		message string
		want    int64
	}{
		"an event":   {event, 20},
		"a request":  {event + unknown, 21},
		"two events": {event + event, 40},
	} {
		for _, units := range []int64{c.want, c.want - 1} {
			left := budget.New(units)
			w := wireReader{decoding: left}
			refused := w.read(inPieces([]byte(c.message), 100), new(intake.Request), timeline.Stamp{At: testNow})
			if units < c.want != (refused == intake.ErrOverBudget) || refused == nil && w.decoded != c.want {
				t.Errorf("%s with a budget of %d: got %v and %d counted, want %d", name, units, refused, w.decoded, c.want)
			}
			if w.free(); !left.Acquire(units) || left.Acquire(1) {
				t.Errorf("%s: not all of a budget of %d is left", name, units)
			}
		}
	}
}

// hasBrokenKey reports whether check rejects a key of r.
func hasBrokenKey(r *intake.Request) bool {
	for i := range r.Batch.Events {
		if !utf8.ValidString(r.Batch.Events[i].Key) {
			return true
		}
	}
	return false
}

func sameRequest(t *testing.T, r *intake.Request, want *standpipev1.AppendRequest) {
	t.Helper()
	b := &r.Batch
	if b.Stream != want.Stream || r.Ack != want.Ack || b.ProducerID != want.ProducerId || b.ProducerSequence != want.ProducerSequence || b.ProducerNext != want.ProducerNext {
		t.Errorf("got %q %v %q %d, want %v", b.Stream, r.Ack, b.ProducerID, b.ProducerSequence, want)
	}
	if len(b.Events) != len(want.Events) {
		t.Fatalf("got %d events, want %d", len(b.Events), len(want.Events))
	}
	for i, w := range want.Events {
		got, at := meaning(t, &b.Events[i]), w.TimeUnixNano
		if at == 0 {
			at = testNow
		}
		if got.PartitionKey != w.PartitionKey || !bytes.Equal(got.Data, w.Data) || got.TimeUnixNano != at ||
			!maps.Equal(got.Attributes, w.Attributes) {
			t.Errorf("event %d: got %v, want %v", i, got, w)
		}
	}
}

// wireSamples are requests as libraries encode them, as they may be encoded, and broken ones.
func wireSamples() (samples [][]byte) {
	plain, err := proto.Marshal(&standpipev1.AppendRequest{
		Stream: "s", Ack: standpipev1.Ack_ACK_DELIVERED, ProducerId: "p", ProducerSequence: 1 << 60, ProducerNext: 1 << 61,
		Events: []*standpipev1.Event{
			{PartitionKey: "k", Data: []byte("data"), TimeUnixNano: -1},
			{PartitionKey: "ключ", Attributes: map[string]string{"a": "b"}},
			{Data: bytes.Repeat([]byte("x"), 300)},
			{},
		},
	})
	if err != nil {
		panic(err)
	}
	samples = append(samples, plain, plain[:len(plain)-1], nil)
	for _, more := range []string{
		"\x0a\x01t",                  // the stream again
		"\x0a\x01\xff",               // not UTF-8
		"\x18\x80\x80\x80\x80\x20",   // an ack of more than 32 bits
		"\x18\x07",                   // an ack that is unknown
		"\x1a\x01\x01",               // an ack of another type
		"\x32\x03abc",                // a field of later
		"\x33\x08\x01\x34",           // a group
		"\x34",                       // its end alone
		"\x12\x03\x0a\x01\xff",       // an event whose key is not UTF-8
		"\x12\x06\x0a\x01a\x0a\x01b", // an event with two keys
		"\x12\x05\x22\x03\x0a\x01\xff",
		"\x92\x80\x00\x03\x0a\x01a", // a tag of three bytes
		"\x12\xff\xff\xff\xff\x0f",  // longer than there is
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\x00",
		"\x82\x80\x80\x80\x10\x00", // a field number that is too high
	} {
		samples = append(samples, append(bytes.Clone(plain), more...))
	}
	return samples
}

func TestWire_MeansTheSameInEveryPiece(t *testing.T) {
	message := wireSamples()[0]
	var want standpipev1.AppendRequest
	if err := proto.Unmarshal(message, &want); err != nil {
		t.Fatal(err)
	}
	for size := 1; size <= len(message); size++ {
		r, refused := readWire(message, size)
		if refused != nil {
			t.Fatalf("in pieces of %d bytes: refused: %v", size, refused)
		}
		for i := range r.Batch.Events[:3] {
			if r.Batch.Events[i].Encoded == nil {
				t.Errorf("in pieces of %d bytes: event %d was decoded", size, i)
			}
		}
		sameRequest(t, r, &want)
	}
}

func TestWire_InvalidRequests(t *testing.T) {
	for message, want := range map[string]string{
		"\x0a\x05s": "the request of 3 bytes is no valid encoding of AppendRequest: cannot parse invalid wire-format data",
		"\x0a\x01s\x12\x03\x0a\x01k\x12\x05\x22\x03\x0a\x01\xff": "event 1: 5 bytes are no valid encoding of it: string field contains invalid UTF-8",
	} {
		_, refused := readWire([]byte(message), 100)
		if refused == nil || refused.Error() != want || refused.Code != codes.InvalidArgument {
			t.Errorf("%q: got %v, want %s", message, refused, want)
		}
	}
}

func TestWire_EncodesResponsesAsProtobufDoes(t *testing.T) {
	for _, r := range []intake.Response{
		{FirstOffset: 1<<64 - 1, Count: math.MaxInt32, Ack: standpipev1.Ack_ACK_DELIVERED, Duplicate: true},
		{Count: 1, Ack: standpipev1.Ack_ACK_ACCEPTED},
	} {
		data, err := newCodec().Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		var got standpipev1.AppendResponse
		if err := proto.Unmarshal(data.Materialize(), &got); err != nil {
			t.Fatal(err)
		}
		if got.FirstOffset != r.FirstOffset || int(got.Count) != r.Count || got.Ack != r.Ack || got.Duplicate != r.Duplicate {
			t.Errorf("got %v, want %+v", &got, r)
		}
		if data.Len() > responseRoom {
			t.Errorf("%d bytes, more than the room of %d", data.Len(), responseRoom)
		}
	}
	if _, err := newCodec().Marshal(protowire.Number(1)); err == nil {
		t.Error("a message that is none is taken")
	}
}
