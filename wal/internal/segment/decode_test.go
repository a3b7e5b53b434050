package segment

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

// soundBlock returns block 3 of segment 2: three events of the stream "s", from offset 7 on.
func soundBlock() []byte {
	b := Block{Stream: "s", First: 7, Time: 42, Before: 100}
	var frames []byte
	for _, e := range soundEvents() {
		lane := LaneOf(e.Key)
		frames = AppendFrame(frames, &e, lane)
		b.Count++
		b.Bytes += uint64(len(e.Data))
		b.Lanes = b.Lanes.With(lane)
	}
	value := append(AppendBlockHeader(nil, &b), frames...)
	SumFrames(value)
	SealBlock(value, 2, 3)
	return value
}

func soundEvents() []Event {
	return []Event{
		{Key: "k", Data: []byte("data"), Time: 1},
		{Key: "", Data: []byte{}, Time: math.MinInt64},
		{Key: "key", Data: bytes.Repeat([]byte("x"), 300), Time: -1, Attributes: map[string]string{"a": "b", "": ""}},
	}
}

func TestABlockIsReadAsItWasWritten(t *testing.T) {
	b, fault := ParseBlock(2, NumberKey(3), soundBlock())
	if fault != "" || b.Stream != "s" || b.Number != 3 || b.First != 7 || b.Next() != 10 || b.Time != 42 || b.Before != 100 || b.Bytes != 304 {
		t.Fatalf("got %+v, %s", b, fault)
	}
	var got []Event
	err := b.Each(func(_ uint8, _ uint64, raw []byte) error {
		var e Event
		err := DecodeEvent(raw, &e)
		got = append(got, e)
		return err
	})
	if want := soundEvents(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, fault := range map[string]func() string{
		"another segment": func() string { _, fault := ParseBlock(1, NumberKey(3), soundBlock()); return fault },
		"another number":  func() string { _, fault := ParseBlock(2, NumberKey(4), soundBlock()); return fault },
	} {
		if fault() == "" {
			t.Errorf("a block of %s is taken for good", name)
		}
	}
	for i := range soundBlock() {
		value := soundBlock()
		value[i] ^= 0x10
		if _, fault := ParseBlock(2, NumberKey(3), value); fault == "" {
			t.Errorf("a flipped bit in byte %d is not seen", i)
		}
	}
}

// gappedBlock returns a block of the offsets 10 to 19 that has only the events 12 and 15.
func gappedBlock() []byte {
	b := Block{Number: 3, Stream: "s", First: 10, Count: 10, Time: 1, Bytes: 100, Lanes: LaneSet(0).With(LaneOf("k"))}
	e := Event{Key: "k", Data: []byte("there"), Time: 1}
	value := AppendGap(AppendBlockHeader(nil, &b), 2)
	value = AppendGap(AppendFrame(value, &e, LaneOf(e.Key)), 2)
	value = AppendGap(AppendFrame(value, &e, LaneOf(e.Key)), 4)
	SumFrames(value)
	SealBlock(value, 2, 3)
	return value
}

func TestABlockWithGaps(t *testing.T) {
	b, fault := ParseBlock(2, NumberKey(3), gappedBlock())
	if fault != "" {
		t.Fatal(fault)
	}
	var got []uint64
	collect := func(_ uint8, offset uint64, _ []byte) error {
		got = append(got, offset)
		return nil
	}
	if err := b.Each(collect); err != nil || !slices.Equal(got, []uint64{12, 15}) {
		t.Errorf("got the offsets %d, %v, want 12 and 15", got, err)
	}
	for _, count := range []uint32{9, 11} {
		b.Count = count
		if err := b.Each(collect); !errors.Is(err, ErrFrame) {
			t.Errorf("%d events instead of 10: got %v, want errFrame", count, err)
		}
	}
	for _, frames := range [][]byte{{GapLane}, {GapLane, 0}, {GapLane, 10, 0}, {GapLane, 0xff, 0xff}} {
		b.Count, b.Frames = 10, frames
		if err := b.Each(collect); !errors.Is(err, ErrFrame) {
			t.Errorf("frames %x: got %v, want errFrame", frames, err)
		}
	}
}

// FuzzBlock also gives bad content right checksums, to reach the code behind the checks.
func FuzzBlock(f *testing.F) {
	f.Add(NumberKey(3), soundBlock(), true)
	f.Add(NumberKey(3), soundBlock()[:BlockHeader], true)
	f.Add(NumberKey(math.MaxUint64), soundBlock(), false)
	f.Add([]byte{}, []byte{BlockVersion}, false)
	f.Add(NumberKey(3), gappedBlock(), true)
	f.Add(NumberKey(3), notedBlock(), true)
	f.Fuzz(func(t *testing.T, key, value []byte, seal bool) {
		value = bytes.Clone(value)
		if seal && len(key) == 8 && len(value) >= BlockHeader && len(value) >= HeaderLength(value) {
			if _, _, _, ok := splitNotes(value[HeaderLength(value):]); !ok || !Noted(value) {
				value[0] = plainVersion
				SumFrames(value)
			}
			SealBlock(value, 2, numberOf(key))
		}
		b, fault := ParseBlock(2, key, value)
		if fault != "" {
			return
		}
		var events uint64
		err := b.Each(func(lane uint8, offset uint64, raw []byte) error {
			if lane >= Lanes || offset < b.First+events || offset >= b.Next() {
				t.Errorf("got lane %d, offset %d", lane, offset)
			}
			events = offset - b.First + 1
			var e Event
			if err := DecodeEvent(raw, &e); err != nil {
				return err
			}
			return eventAgain(t, &e)
		})
		if err == nil && events > uint64(b.Count) {
			t.Errorf("got %d events, want at most %d", events, b.Count)
		}
	})
}

func numberOf(key []byte) (number uint64) {
	for _, b := range key {
		number = number<<8 | uint64(b)
	}
	return number
}

// eventAgain checks that a decoded event stays the same when it is encoded and decoded again.
func eventAgain(t *testing.T, e *Event) error {
	frame := AppendFrame(nil, e, 3)
	if len(frame) != FrameSize(e) {
		t.Errorf("got a frame of %d bytes, reckoned %d", len(frame), FrameSize(e))
	}
	lane, raw, rest, err := SplitFrame(frame)
	var got Event
	if err == nil {
		err = DecodeEvent(raw, &got)
	}
	if err != nil || lane != 3 || len(rest) > 0 || got.Key != e.Key || !bytes.Equal(got.Data, e.Data) || got.Time != e.Time || !reflect.DeepEqual(got.Attributes, e.Attributes) {
		t.Errorf("got %+v, %v, want %+v", got, err, e)
	}
	return nil
}

// soundCursor returns an entry with a value in every field.
func soundCursor() *CursorState {
	c := &CursorState{State: []byte("state"), Label: "file"}
	for i := range c.Lanes {
		c.Lanes[i].Checkpoint = uint64(100 + i)
	}
	c.Lanes[5].Settled = []Run{{First: 110, Next: 112}, {First: 120, Next: 121}}
	c.Ledger = Ledger{
		Delivered: Count{Events: 10, Bytes: 100}, Dead: Count{Events: 1, Bytes: 5}, Dropped: map[string]Count{"full": {Events: 2, Bytes: 3}, "age": {Events: 1, Bytes: 1}},
		Requests: 4, Records: 5, BilledBytes: 6, PutUnits: 7, LastDelivery: time.Unix(9, 8),
	}
	return c
}

func FuzzCursor(f *testing.F) {
	f.Add(soundCursor().Append(nil))
	f.Add(new(CursorState).Append(nil))
	f.Add([]byte{CursorVersion, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again CursorState
		if c.Decode(b) != nil {
			return
		}
		if err := again.Decode(c.Append(nil)); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("got %+v, %v, want %+v", again, err, c)
		}
	})
}

func FuzzProducer(f *testing.F) {
	p := ProducerState{Next: 7, Seen: time.Unix(1, 2), Runs: []ProducerRun{{1, 10, 5}, {6, 100, 1}}}
	f.Add(p.Append(nil))
	f.Add([]byte{0, 0, 0xff, 0xff, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q ProducerState
		if p.Decode(b) != nil {
			return
		}
		if err := q.Decode(p.Append(nil)); err != nil || q.Next != p.Next || !q.Seen.Equal(p.Seen) || !reflect.DeepEqual(q.Runs, p.Runs) {
			t.Errorf("got %+v, %v, want %+v", q, err, p)
		}
	})
}

func FuzzStateKey(f *testing.F) {
	f.Add(StateKey(StateCursor, "stream", "destination"))
	f.Add(StateKey(StateStream, ""))
	f.Add([]byte{StateCursor, 0xff})
	f.Fuzz(func(t *testing.T, k []byte) {
		kind, texts, ok := SplitStateKey(k)
		if !ok {
			return
		}
		again, texts2, ok := SplitStateKey(StateKey(kind, texts...))
		if !ok || again != kind || !reflect.DeepEqual(texts, texts2) {
			t.Errorf("got %c, %q, %v, want %c, %q", again, texts2, ok, kind, texts)
		}
	})
}
