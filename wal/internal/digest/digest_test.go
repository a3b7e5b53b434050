package digest_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/digest"
)

type entry struct {
	bucket     digest.Bucket
	key, value string
}

func sumOf(entries []entry) digest.Sum {
	s := digest.New(7)
	for _, e := range entries {
		s.Add(e.bucket, []byte(e.key), []byte(e.value))
	}
	return s
}

// The order in which entries were added and removed makes no difference.
func TestSum_DependsOnTheSetAlone(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	var entries []entry
	for i := range 50 {
		value := make([]byte, r.IntN(100))
		for i := range value {
			value[i] = byte(r.Uint32())
		}
		entries = append(entries, entry{digest.State, string(binary.BigEndian.AppendUint64(nil, uint64(i))), string(value)})
	}
	want := sumOf(entries)
	r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	got := sumOf(append(entries, entries[:20]...))
	for _, e := range entries[:20] {
		got.Remove(e.bucket, []byte(e.key), []byte(e.value))
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Every part of an entry counts: a change of one bit, an entry in another bucket or segment, and bytes that move between
// the key and the value.
func TestSum_CoversAllOfAnEntry(t *testing.T) {
	base := entry{digest.State, "key", "value"}
	seen := map[digest.Totals]entry{sumOf([]entry{base}).Totals: base}
	differs := func(e entry, s digest.Sum) {
		t.Helper()
		if same, ok := seen[s.Totals]; ok {
			t.Errorf("%q has the digest of %q", e, same)
		}
		seen[s.Totals] = e
	}
	for i := range 8 * len(base.value) {
		value := []byte(base.value)
		value[i/8] ^= 1 << (i % 8)
		differs(entry{base.bucket, base.key, string(value)}, sumOf([]entry{{base.bucket, base.key, string(value)}}))
	}
	for _, e := range []entry{{digest.Blocks, "key", "value"}, {digest.State, "keyv", "alue"}, {digest.State, "", "keyvalue"}} {
		differs(e, sumOf([]entry{e}))
	}
	other := digest.New(8)
	other.Add(base.bucket, []byte(base.key), []byte(base.value))
	differs(entry{key: "of another segment"}, other)
}

func TestRecord_IsDecodedAsItWasEncoded(t *testing.T) {
	want := digest.Record{Tx: rand.Uint64(), Totals: digest.Totals{Entries: rand.Uint64(), Sums: [2]uint64{rand.Uint64(), rand.Uint64()}}}
	var got digest.Record
	b := want.Append(nil)
	if !got.Decode(b) || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for n := range b {
		if got.Decode(b[:n]) {
			t.Errorf("%d of %d bytes are decoded", n, len(b))
		}
	}
}

func BenchmarkSum_Add(b *testing.B) {
	key, value := make([]byte, 8), make([]byte, 64) // the header of a block
	s := digest.New(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Add(digest.Blocks, key, value)
	}
}
