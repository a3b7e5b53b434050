package kpl_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/shipper/kpl"
)

// golden is two payloads under the key "u1", byte for byte.
var golden = []byte("\xf3\x89\x9a\xc2" +
	"\x0a\x02u1" + // partition_key_table[0] = "u1"
	"\x1a\x05\x08\x00\x1a\x01a" + // records[0]: key index 0, data "a"
	"\x1a\x07\x08\x00\x1a\x03bcd" + // records[1]: key index 0, data "bcd"
	"\x2e\xfe\xa2\xbb\xf2\x97\x87\x35\x78\x9d\x6f\x67\xb0\xaa\xde\xaf") // MD5, by md5sum(1)

func TestAppendGolden(t *testing.T) {
	got := kpl.Append([]byte("before"), "u1", [][]byte{[]byte("a"), []byte("bcd")})
	want := append([]byte("before"), golden...)
	if !bytes.Equal(got, want) {
		t.Fatalf("got %x, want %x", got, want)
	}
}

func TestLonePayloadIsNotWrapped(t *testing.T) {
	for _, lone := range []string{"", "x", "\xf3\x89\x9a", "\xf3\x89\x9a\xc3plain"} {
		got := kpl.Append(nil, "key", [][]byte{[]byte(lone)})
		if string(got) != lone {
			t.Errorf("got %x, want %x", got, lone)
		}
	}
}

func TestLonePayloadWithMagicIsWrapped(t *testing.T) {
	for _, lone := range [][]byte{[]byte(kpl.Magic), golden} {
		record := kpl.Append(nil, "key", [][]byte{lone})
		key, payloads, aggregated, err := kpl.Decode(record)
		if err != nil || !aggregated || key != "key" {
			t.Fatalf("got key %q, aggregated %v, %v", key, aggregated, err)
		}
		if len(payloads) != 1 || !bytes.Equal(payloads[0], lone) {
			t.Errorf("got %x, want %x", payloads, lone)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		key, payloads := randomKey(r), randomPayloads(r)
		record := kpl.Append(nil, key, payloads)
		if got, want := kpl.Size(len(key), payloads), len(record); got != want {
			t.Fatalf("seed %d: size %d, want %d", seed, got, want)
		}
		gotKey, got, aggregated, err := kpl.Decode(record)
		if err != nil || !aggregated || gotKey != key {
			t.Fatalf("seed %d: got key %q, aggregated %v, %v", seed, gotKey, aggregated, err)
		}
		if !equal(got, payloads) {
			t.Fatalf("seed %d: got %x, want %x", seed, got, payloads)
		}
	}
}

func TestSizerKnowsEverySize(t *testing.T) {
	for _, first := range []string{"", "plain", kpl.Magic} {
		s := kpl.NewSizer(3)
		var payloads [][]byte
		for i := range 300 {
			p := bytes.Repeat([]byte{'p'}, i*7)
			if i == 0 {
				p = []byte(first)
			}
			payloads = append(payloads, p)
			with := s.With(p)
			s.Add(p)
			want := len(kpl.Append(nil, "key", payloads))
			if with != want || s.Size() != want || s.Len() != i+1 {
				t.Fatalf("%d payloads: With %d, Size %d, Len %d, want %d bytes", i+1, with, s.Size(), s.Len(), want)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
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
		"two keys":           {message("\x0a\x01a\x0a\x01b"), kpl.ErrFormat},
		"key index 1":        {message("\x0a\x01a\x1a\x05\x08\x01\x1a\x01a"), kpl.ErrFormat},
		"no data":            {message("\x0a\x01a\x1a\x02\x08\x00"), kpl.ErrFormat},
		"length past end":    {message("\x0a\x01a\x1a\x7f\x08\x00"), kpl.ErrFormat},
		"tag cut in the mid": {message("\x0a\x01a\x80"), kpl.ErrFormat},
	}
	for name, c := range cases {
		if _, _, _, err := kpl.Decode(c.record); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestDecodePassesForeignFields(t *testing.T) {
	m := "\x0a\x01k" + "\x12\x011" + // explicit_hash_key_table
		"\x1a\x0c\x08\x00\x10\x00\x1a\x01a\x22\x03\x0a\x01t" // with a hash key index and a tag
	sum := md5.Sum([]byte(m))
	key, payloads, _, err := kpl.Decode(append([]byte(kpl.Magic+m), sum[:]...))
	if err != nil || key != "k" || !equal(payloads, [][]byte{[]byte("a")}) {
		t.Fatalf("got %q %x, %v", key, payloads, err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	payloads := [][]byte{bytes.Repeat([]byte{1}, 1000), bytes.Repeat([]byte{2}, 1000)}
	dst := make([]byte, 0, kpl.Size(3, payloads))
	allocs := testing.AllocsPerRun(100, func() { kpl.Append(dst, "key", payloads) })
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
		key, payloads, _, err := kpl.Decode(record)
		if err != nil {
			return
		}
		again := kpl.Append(nil, key, payloads)
		gotKey, got, aggregated, err := kpl.Decode(again)
		if err != nil || aggregated && gotKey != key || !equal(got, payloads) {
			t.Fatalf("got %q %x, %v, want %q %x", gotKey, got, err, key, payloads)
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
			dst := make([]byte, 0, kpl.Size(8, payloads))
			b.SetBytes(int64(50 * size))
			b.ReportAllocs()
			for b.Loop() {
				kpl.Append(dst, "customer", payloads)
			}
		})
	}
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

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}
