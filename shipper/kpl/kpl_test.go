package kpl_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/shipper/kpl"
)

// golden is two payloads under the key "u1", byte for byte.
var golden = []byte("\xf3\x89\x9a\xc2" +
	"\x0a\x02u1" + // partition_key_table[0] = "u1"
	"\x1a\x05\x08\x00\x1a\x01a" + // records[0]: key index 0, data "a"
	"\x1a\x07\x08\x00\x1a\x03bcd" + // records[1]: key index 0, data "bcd"
	"\x2e\xfe\xa2\xbb\xf2\x97\x87\x35\x78\x9d\x6f\x67\xb0\xaa\xde\xaf") // MD5, by md5sum(1)

// one is the groups of a record of one key.
func one(key string, payloads ...[]byte) []kpl.Group {
	return []kpl.Group{{Key: key, Payloads: payloads}}
}

func TestAppend_Golden(t *testing.T) {
	got := kpl.Append([]byte("before"), one("u1", []byte("a"), []byte("bcd")))
	want := append([]byte("before"), golden...)
	if !bytes.Equal(got, want) {
		t.Fatalf("got %x, want %x", got, want)
	}
}

func TestPayload_AloneIsNotWrapped(t *testing.T) {
	for _, lone := range []string{"", "x", "\xf3\x89\x9a", "\xf3\x89\x9a\xc3plain"} {
		got := kpl.Append(nil, one("key", []byte(lone)))
		if string(got) != lone {
			t.Errorf("got %x, want %x", got, lone)
		}
		if groups, aggregated, err := kpl.Decode(got); groups != nil || aggregated || err != nil {
			t.Errorf("%x: got %v, aggregated %v, %v", got, groups, aggregated, err)
		}
	}
}

func TestPayload_AloneWithMagicIsWrapped(t *testing.T) {
	for _, lone := range [][]byte{[]byte(kpl.Magic), golden} {
		want := one("key", lone)
		got, aggregated, err := kpl.Decode(kpl.Append(nil, want))
		if err != nil || !aggregated || !equal(got, want) {
			t.Errorf("got %x, aggregated %v, %v, want %x", got, aggregated, err, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		want := randomGroups(rand.New(rand.NewPCG(seed, 1)))
		got, aggregated, err := kpl.Decode(kpl.Append(nil, want))
		if err != nil || !aggregated || !equal(got, want) {
			t.Fatalf("seed %d: got %x, aggregated %v, %v, want %x", seed, got, aggregated, err, want)
		}
	}
}

func TestSizer_EverySize(t *testing.T) {
	for _, first := range []string{"", "plain", kpl.Magic} {
		s := kpl.NewSizer(3)
		var groups []kpl.Group
		for key := range 3 {
			if key > 0 {
				s.AddKey(3)
			}
			groups = append(groups, kpl.Group{Key: fmt.Sprintf("ke%d", key)})
			for i := range 60 {
				p := bytes.Repeat([]byte{'p'}, i*37)
				if key == 0 && i == 0 {
					p = []byte(first)
				}
				groups[key].Payloads = append(groups[key].Payloads, p)
				s.Add(key, p)
				if got, want := s.Size(), len(kpl.Append(nil, groups)); got != want {
					t.Fatalf("payload %d of key %d: got %d bytes, want %d", i, key, got, want)
				}
			}
		}
	}
}

func TestDecode_Rejects(t *testing.T) {
	message := func(m string) []byte {
		sum := md5.Sum([]byte(m))
		return append([]byte(kpl.Magic+m), sum[:]...)
	}
	flipped := bytes.Clone(golden)
	flipped[7] ^= 1
	cases := map[string]struct {
		record []byte
		want   error
	}{
		"bad checksum":       {flipped, kpl.ErrSum},
		"cut":                {golden[:len(golden)-1], kpl.ErrSum},
		"magic alone":        {[]byte(kpl.Magic), kpl.ErrFormat},
		"no key":             {message("\x1a\x05\x08\x00\x1a\x01a"), kpl.ErrFormat},
		"key index 1":        {message("\x0a\x01a\x1a\x05\x08\x01\x1a\x01a"), kpl.ErrFormat},
		"no data":            {message("\x0a\x01a\x1a\x02\x08\x00"), kpl.ErrFormat},
		"length past end":    {message("\x0a\x01a\x1a\x7f\x08\x00"), kpl.ErrFormat},
		"tag cut in the mid": {message("\x0a\x01a\x80"), kpl.ErrFormat},
	}
	for name, c := range cases {
		if _, _, err := kpl.Decode(c.record); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestDecode_SkipsForeignFields(t *testing.T) {
	m := "\x0a\x01k" + "\x12\x011" + // explicit_hash_key_table
		"\x1a\x0c\x08\x00\x10\x00\x1a\x01a\x22\x03\x0a\x01t" // with a hash key index and a tag
	sum := md5.Sum([]byte(m))
	got, _, err := kpl.Decode(append([]byte(kpl.Magic+m), sum[:]...))
	if err != nil || !equal(got, one("k", []byte("a"))) {
		t.Fatalf("got %x, %v", got, err)
	}
}

func TestAppend_DoesNotAllocate(t *testing.T) {
	groups := one("key", bytes.Repeat([]byte{1}, 1000), bytes.Repeat([]byte{2}, 1000))
	dst := make([]byte, 0, len(kpl.Append(nil, groups)))
	allocs := testing.AllocsPerRun(100, func() { kpl.Append(dst, groups) })
	if allocs != 0 {
		t.Errorf("got %v allocations, want 0", allocs)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(golden)
	f.Add([]byte(kpl.Magic))
	f.Add(golden[:len(golden)-md5.Size])
	f.Fuzz(func(t *testing.T, b []byte) {
		kpl.Decode(b)
		// The fuzzer can't guess a checksum: give it a right one.
		sum := md5.Sum(b)
		record := append(append([]byte(kpl.Magic), b...), sum[:]...)
		want, _, err := kpl.Decode(record)
		if err != nil {
			return
		}
		// A record that holds one payload goes out without its key.
		got, aggregated, err := kpl.Decode(kpl.Append(nil, want))
		if err != nil || aggregated && !equal(got, want) {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			payloads := make([][]byte, 50)
			for i := range payloads {
				payloads[i] = make([]byte, size)
			}
			groups := one("customer", payloads...)
			dst := make([]byte, 0, len(kpl.Append(nil, groups)))
			b.SetBytes(int64(50 * size))
			b.ReportAllocs()
			for b.Loop() {
				kpl.Append(dst, groups)
			}
		})
	}
}

// randomGroups returns one key at least, of two payloads or more.
func randomGroups(r *rand.Rand) []kpl.Group {
	groups := make([]kpl.Group, 1+r.IntN(4))
	for i := range groups {
		groups[i] = kpl.Group{Key: randomKey(r), Payloads: randomPayloads(r)}
	}
	return groups
}

func randomKey(r *rand.Rand) string {
	key := make([]byte, 1+r.IntN(256))
	for i := range key {
		key[i] = byte('a' + r.IntN(26))
	}
	return string(key)
}

// randomPayloads returns at least two, of lengths around the varint's steps.
func randomPayloads(r *rand.Rand) [][]byte {
	payloads := make([][]byte, 2+r.IntN(20))
	for i := range payloads {
		payloads[i] = make([]byte, []int{0, 1, 120, 127, 128, 16378, 16384}[r.IntN(7)]+r.IntN(4))
		for j := range payloads[i] {
			payloads[i][j] = byte(r.Uint32())
		}
	}
	return payloads
}

// equal compares the contents of groups: an empty payload may be nil.
func equal(a, b []kpl.Group) bool {
	return slices.EqualFunc(a, b, func(x, y kpl.Group) bool {
		return x.Key == y.Key && slices.EqualFunc(x.Payloads, y.Payloads, bytes.Equal)
	})
}
