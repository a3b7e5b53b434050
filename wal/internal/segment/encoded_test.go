package segment

import (
	"bytes"
	"maps"
	"reflect"
	"testing"
)

// encoded returns e as it comes over the wire: without its frame.
func encoded(t testing.TB, e Event) []byte {
	t.Helper()
	_, raw, _, err := SplitFrame(AppendFrame(nil, &e, 0))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// stored returns e as the log returns it.
func stored(t testing.TB, e Event) (got Event) {
	t.Helper()
	frame := AppendFrame(nil, &e, 5)
	if len(frame) != FrameSize(&e) {
		t.Errorf("the frame has %d bytes, reckoned with were %d", len(frame), FrameSize(&e))
	}
	lane, raw, rest, err := SplitFrame(frame)
	if err != nil || lane != 5 || len(rest) > 0 {
		t.Fatalf("got lane %d, %d bytes more, %v", lane, len(rest), err)
	}
	if err := DecodeEvent(raw, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAnEncodedEventIsStoredAsItIs(t *testing.T) {
	for _, want := range soundEvents() {
		e, ok := IndexEvent(encoded(t, want))
		if !ok || e.Key != want.Key || !bytes.Equal(e.Data, want.Data) || e.Time != want.Time {
			t.Fatalf("got %+v, %v, want %+v", e, ok, want)
		}
		if got := stored(t, e); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestAnEncodedEventGetsTheTimeThatItDoesNotSay(t *testing.T) {
	for name, raw := range map[string][]byte{
		"no time":   []byte("\x0a\x01k\x12\x01d"),
		"time zero": []byte("\x0a\x01k\x18\x00\x12\x01d"),
	} {
		e, ok := IndexEvent(raw)
		if !ok || e.Time != 0 {
			t.Fatalf("%s: got %+v, %v", name, e, ok)
		}
		e.Time = -7
		e.Timeline = 1<<32 - 1
		if got, want := stored(t, e), (Event{Key: "k", Data: []byte("d"), Time: -7, Timeline: 1<<32 - 1}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		e.Encoded = nil
		if got := stored(t, e); got.Time != -7 || got.Timeline != 1<<32-1 {
			t.Errorf("%s, decoded: got %+v, want the time -7 on the timeline", name, got)
		}
	}
}

func TestAnEncodingThatIsNotPlainIsNotTaken(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing":                    "",
		"key twice":                  "\x0a\x01k\x0a\x01l",
		"data twice":                 "\x12\x01k\x12\x01l",
		"time twice":                 "\x18\x01\x18\x02",
		"field 5":                    "\x2a\x01k",
		"a group":                    "\x0b\x0c",
		"key as a number":            "\x08\x01",
		"time of eight bytes":        "\x19\x01\x02\x03\x04\x05\x06\x07\x08",
		"key that is cut off":        "\x0a\x02k",
		"attribute without a value":  "\x22\x03\x0a\x01a",
		"attribute, value first":     "\x22\x06\x12\x01b\x0a\x01a",
		"attribute with field 3":     "\x22\x08\x0a\x01a\x12\x01b\x18\x01",
		"attribute that is not text": "\x22\x06\x0a\x01\xff\x12\x01b",
	} {
		if e, ok := IndexEvent([]byte(raw)); ok {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

// FuzzIndexEvent checks that an event that IndexEvent accepts comes back from the log unchanged.
func FuzzIndexEvent(f *testing.F) {
	for _, e := range soundEvents() {
		f.Add(encoded(f, e))
	}
	f.Add([]byte("\x0a\x01k\x18\x00\x12\x01d\x22\x04\x0a\x00\x12\x00"))
	f.Add([]byte("\x8a\x00\x81\x00k"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, ok := IndexEvent(raw)
		if !ok {
			return
		}
		if e.Time == 0 {
			e.Time = 3
		}
		got := stored(t, e)
		if got.Key != e.Key || !bytes.Equal(got.Data, e.Data) || got.Time != e.Time {
			t.Errorf("got %+v, want %+v", got, e)
		}
	})
}

func TestEvent_SizeIsThatOfDataAndAttributes(t *testing.T) {
	for _, e := range append(soundEvents(), Event{Key: "k", Data: []byte("12"), Attributes: map[string]string{"abc": "defg", "": "h", "i": ""}}) {
		want := len(e.Data)
		for name, value := range e.Attributes {
			want += len(name) + len(value)
		}
		indexed, ok := IndexEvent(encoded(t, e))
		if !ok || e.Size() != want || indexed.Size() != want {
			t.Errorf("got %d, and %d encoded, want %d", e.Size(), indexed.Size(), want)
		}
		indexed.DecodeAttributes()
		if !maps.Equal(indexed.Attributes, e.Attributes) || indexed.Size() != want {
			t.Errorf("got attributes %v and size %d, want %v and %d", indexed.Attributes, indexed.Size(), e.Attributes, want)
		}
		if got := stored(t, indexed); !reflect.DeepEqual(got, stored(t, e)) {
			t.Errorf("stored as %+v, want %+v", got, e)
		}
	}
}
