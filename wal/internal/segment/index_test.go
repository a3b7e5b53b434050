package segment

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// someIndex returns an index of streams whose blocks are interleaved, some of them with gaps, and the blocks of each
// stream.
func someIndex(seed uint64, blocks int) (*BlockIndex, map[string][]BlockPlace) {
	r := rand.New(rand.NewPCG(seed, 1))
	x, want := NewIndex(), make(map[string][]BlockPlace)
	next, bytes, number := make(map[string]uint64), make(map[string]uint64), uint64(0)
	for range blocks {
		stream := fmt.Sprint("s", r.IntN(3))
		first := max(next[stream], 1) + uint64([]int{0, 0, 0, 1, 1000}[r.IntN(5)])
		number += 1 + r.Uint64N(3)
		b := Block{Number: number, Stream: stream, First: first, Count: 1 + r.Uint32N(300), Before: bytes[stream], Bytes: r.Uint64N(9000)}
		x.Add(&b)
		next[stream], bytes[stream] = b.Next(), b.Before+b.Bytes
		want[stream] = append(want[stream], BlockPlace{Number: number, Run: Run{First: first, Next: b.Next()}})
	}
	return x, want
}

// placesFrom returns a stream's blocks from an offset on, by the index.
func placesFrom(x *BlockIndex, stream string, from uint64) (all []BlockPlace) {
	for {
		p, ok := x.Part(stream, from)
		if !ok {
			return all
		}
		all = slices.AppendSeq(all, p.Places(from))
		from = p.Next
	}
}

func TestTheIndexHasEveryBlock(t *testing.T) {
	x, want := someIndex(1, 5000)
	for stream, places := range want {
		if got := placesFrom(x, stream, 0); !reflect.DeepEqual(got, places) {
			t.Fatalf("%s: got %d places, want %d", stream, len(got), len(places))
		}
		for i, at := range places[:len(places)-1] {
			for _, from := range []uint64{at.First, at.Next - 1} {
				if got := placesFrom(x, stream, from); len(got) != len(places)-i || got[0] != at {
					t.Fatalf("%s from %d: got %v, want %v", stream, from, got[0], at)
				}
			}
			if got := placesFrom(x, stream, at.Next); got[0] != places[i+1] {
				t.Fatalf("%s from %d: got %v, want %v", stream, at.Next, got[0], places[i+1])
			}
		}
		last := places[len(places)-1]
		if sp := x.Span(stream); sp.First != places[0].First || sp.Next != last.Next || len(placesFrom(x, stream, last.Next)) > 0 {
			t.Errorf("%s: got %+v, want %d to %d", stream, sp, places[0].First, last.Next)
		}
	}
	if got := placesFrom(x, "nobody", 0); got != nil {
		t.Errorf("got %v of no stream", got)
	}
}

func TestAnIndexIsReadAsItWasWritten(t *testing.T) {
	x, _ := someIndex(2, 5000)
	size := int64(0)
	err := x.Each(func(key []byte, p *IndexPart) error {
		value := p.AppendValue(nil, 5, key)
		size += int64(len(key) + len(value) + StateElement)
		stream, got, err := DecodePart(5, key, value)
		if err != nil || !reflect.DeepEqual(got, *p) || x.Streams[stream] == nil {
			t.Errorf("got %s %+v, %v, want %+v", stream, got, err, *p)
		}
		if _, _, err := DecodePart(6, key, value); err == nil {
			t.Error("a part of another segment is taken for good")
		}
		value[len(value)/2] ^= 4
		if _, _, err := DecodePart(5, key, value); err == nil {
			t.Error("a flipped bit is not seen")
		}
		return nil
	})
	if got := x.Size.Load(); err != nil || got < size || got > size+size/10 {
		t.Errorf("got a size of %d, %v, want %d", got, err, size)
	}
}

// FuzzIndex also gives bad content a right checksum, to reach the code behind the check.
func FuzzIndex(f *testing.F) {
	x, _ := someIndex(3, 300)
	if err := x.Each(func(key []byte, p *IndexPart) error { f.Add(key, p.AppendValue(nil, 5, key), true); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, []byte{IndexVersion}, false)
	f.Add(PartKey("s", 1), make([]byte, IndexHeader), true)
	f.Fuzz(func(t *testing.T, key, value []byte, seal bool) {
		value = bytes.Clone(value)
		if seal && len(value) >= IndexHeader {
			value[0] = IndexVersion
			sum := crc32.Update(crc32.Update(crc32.Checksum(NumberKey(5), Castagnoli), Castagnoli, key), Castagnoli, value[IndexSumOf:])
			value[1], value[2], value[3], value[4] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
		}
		_, p, err := DecodePart(5, key, value)
		if err != nil {
			return
		}
		last := BlockPlace{Run: Run{Next: p.First}}
		for at := range p.Places(0) {
			if at.First < last.Next || at.Next <= at.First || at.Number < last.Number {
				t.Errorf("got %+v after %+v", at, last)
			}
			last = at
		}
		if last.Next != p.Next || last.Number != p.Last {
			t.Errorf("got the end %+v, want %d in block %d", last, p.Next, p.Last)
		}
	})
}
