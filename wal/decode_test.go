package wal

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

// soundBlock is the block 3 of segment 2: three events from the offset 7 on of the stream "s".
func soundBlock() []byte {
	p := packer{}
	p.reset(leafEnd{}, 42, 0)
	p.turn("s", 7, 100)
	for _, e := range soundEvents() {
		p.addFrame(appendFrame(nil, &e, LaneOf(e.Key)), uint32(len(e.Data)))
	}
	p.finish()
	sealBlock(p.blocks[0], 2, 3)
	return p.blocks[0]
}

func soundEvents() []Event {
	return []Event{
		{Key: "k", Data: []byte("data"), Time: 1},
		{Key: "", Data: []byte{}, Time: math.MinInt64},
		{Key: "key", Data: bytes.Repeat([]byte("x"), 300), Time: -1, Attributes: map[string]string{"a": "b", "": ""}},
	}
}

func TestABlockIsReadAsItWasWritten(t *testing.T) {
	b, fault := parseBlock(2, numberKey(3), soundBlock())
	if fault != "" || b.stream != "s" || b.number != 3 || b.first != 7 || b.next() != 10 || b.time != 42 || b.before != 100 || b.bytes != 304 {
		t.Fatalf("got %+v, %s", b, fault)
	}
	var got []Event
	err := b.each(func(_ uint8, _ uint64, raw []byte) error {
		var e Event
		err := decodeEvent(raw, &e)
		got = append(got, e)
		return err
	})
	if want := soundEvents(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, fault := range map[string]func() string{
		"another segment": func() string { _, fault := parseBlock(1, numberKey(3), soundBlock()); return fault },
		"another number":  func() string { _, fault := parseBlock(2, numberKey(4), soundBlock()); return fault },
	} {
		if fault() == "" {
			t.Errorf("a block of %s is taken for good", name)
		}
	}
	for i := range soundBlock() {
		value := soundBlock()
		value[i] ^= 0x10
		if _, fault := parseBlock(2, numberKey(3), value); fault == "" {
			t.Errorf("a flipped bit in byte %d is not seen", i)
		}
	}
}

// gappedBlock has the events 12 and 15 of the offsets 10 to 19.
func gappedBlock() []byte {
	b := block{number: 3, stream: "s", first: 10, count: 10, time: 1, bytes: 100, lanes: LaneSet(0).With(LaneOf("k"))}
	e := Event{Key: "k", Data: []byte("there"), Time: 1}
	value := appendGap(appendBlockHeader(nil, &b), 2)
	value = appendGap(appendFrame(value, &e, LaneOf(e.Key)), 2)
	value = appendGap(appendFrame(value, &e, LaneOf(e.Key)), 4)
	sumFrames(value)
	sealBlock(value, 2, 3)
	return value
}

func TestABlockWithGaps(t *testing.T) {
	b, fault := parseBlock(2, numberKey(3), gappedBlock())
	if fault != "" {
		t.Fatal(fault)
	}
	var got []uint64
	collect := func(_ uint8, offset uint64, _ []byte) error {
		got = append(got, offset)
		return nil
	}
	if err := b.each(collect); err != nil || !slices.Equal(got, []uint64{12, 15}) {
		t.Errorf("got the offsets %d, %v, want 12 and 15", got, err)
	}
	for _, count := range []uint32{9, 11} {
		b.count = count
		if err := b.each(collect); !errors.Is(err, errFrame) {
			t.Errorf("%d events instead of 10: got %v, want errFrame", count, err)
		}
	}
	for _, frames := range [][]byte{{gapLane}, {gapLane, 0}, {gapLane, 10, 0}, {gapLane, 0xff, 0xff}} {
		b.count, b.frames = 10, frames
		if err := b.each(collect); !errors.Is(err, errFrame) {
			t.Errorf("frames %x: got %v, want errFrame", frames, err)
		}
	}
}

// FuzzBlock also gives bad content right checksums, to come further.
func FuzzBlock(f *testing.F) {
	f.Add(numberKey(3), soundBlock(), true)
	f.Add(numberKey(3), soundBlock()[:blockHeader], true)
	f.Add(numberKey(math.MaxUint64), soundBlock(), false)
	f.Add([]byte{}, []byte{blockVersion}, false)
	f.Add(numberKey(3), gappedBlock(), true)
	f.Fuzz(func(t *testing.T, key, value []byte, seal bool) {
		value = bytes.Clone(value)
		if seal && len(key) == 8 && len(value) >= blockHeader && len(value) >= headerLength(value) {
			value[0] = blockVersion
			sumFrames(value)
			sealBlock(value, 2, numberOf(key))
		}
		b, fault := parseBlock(2, key, value)
		if fault != "" {
			return
		}
		var events uint64
		err := b.each(func(lane uint8, offset uint64, raw []byte) error {
			if lane >= Lanes || offset < b.first+events || offset >= b.next() {
				t.Errorf("got lane %d, offset %d", lane, offset)
			}
			events = offset - b.first + 1
			var e Event
			if err := decodeEvent(raw, &e); err != nil {
				return err
			}
			return eventAgain(t, &e)
		})
		if err == nil && events > uint64(b.count) {
			t.Errorf("got %d events, want at most %d", events, b.count)
		}
	})
}

func numberOf(key []byte) (number uint64) {
	for _, b := range key {
		number = number<<8 | uint64(b)
	}
	return number
}

// eventAgain checks that what was decoded survives being encoded.
func eventAgain(t *testing.T, e *Event) error {
	frame := appendFrame(nil, e, 3)
	if len(frame) != frameSize(e) {
		t.Errorf("got a frame of %d bytes, reckoned %d", len(frame), frameSize(e))
	}
	lane, raw, rest, err := splitFrame(frame)
	var got Event
	if err == nil {
		err = decodeEvent(raw, &got)
	}
	if err != nil || lane != 3 || len(rest) > 0 || got.Key != e.Key || !bytes.Equal(got.Data, e.Data) || got.Time != e.Time || !reflect.DeepEqual(got.Attributes, e.Attributes) {
		t.Errorf("got %+v, %v, want %+v", got, err, e)
	}
	return nil
}

// soundCursor is an entry with something in every field.
func soundCursor() *cursorState {
	c := &cursorState{state: []byte("state"), label: "file"}
	for i := range c.lanes {
		c.lanes[i].Checkpoint = uint64(100 + i)
	}
	c.lanes[5].Settled = []Run{{110, 112}, {120, 121}}
	c.ledger = Ledger{
		Delivered: Count{10, 100}, Dead: Count{1, 5}, Dropped: map[string]Count{"full": {2, 3}, "age": {1, 1}},
		Requests: 4, Records: 5, BilledBytes: 6, PutUnits: 7, LastDelivery: time.Unix(9, 8),
	}
	return c
}

func FuzzCursor(f *testing.F) {
	f.Add(soundCursor().append(nil))
	f.Add(new(cursorState).append(nil))
	f.Add([]byte{cursorVersion, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again cursorState
		if c.decode(b) != nil {
			return
		}
		if err := again.decode(c.append(nil)); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("got %+v, %v, want %+v", again, err, c)
		}
	})
}

func FuzzProducer(f *testing.F) {
	p := &producer{}
	p.stored(1, 10, 5, time.Unix(1, 2))
	p.stored(6, 100, 1, time.Unix(1, 2))
	f.Add(p.append(nil))
	f.Add([]byte{0, 0, 0xff, 0xff, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q producerState
		if p.decode(b) != nil {
			return
		}
		if err := q.decode(p.append(nil)); err != nil || q.next != p.next || !q.seen.Equal(p.seen) || !reflect.DeepEqual(q.runs, p.runs) {
			t.Errorf("got %+v, %v, want %+v", q, err, p)
		}
	})
}

func FuzzStateKey(f *testing.F) {
	f.Add(stateKey(stateCursor, "stream", "destination"))
	f.Add(stateKey(stateStream, ""))
	f.Add([]byte{stateCursor, 0xff})
	f.Fuzz(func(t *testing.T, k []byte) {
		kind, texts, ok := splitStateKey(k)
		if !ok {
			return
		}
		again, texts2, ok := splitStateKey(stateKey(kind, texts...))
		if !ok || again != kind || !reflect.DeepEqual(texts, texts2) {
			t.Errorf("got %c, %q, %v, want %c, %q", again, texts2, ok, kind, texts)
		}
	})
}
