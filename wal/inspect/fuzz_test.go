package inspect_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// FuzzSegment changes a segment's file. The tools must end and must not panic. Each change is four bytes: the first
// three are the position, and the last has the bits to invert.
func FuzzSegment(f *testing.F) {
	whole := fuzzedSegment(f)
	path := filepath.Join(f.TempDir(), "wal", segment.FileName(1))
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 0, 48, 1})
	f.Add([]byte{0, 0x30, 8, 3, 0, 0x40, 10, 0xff, 0, 0x50, 12, 0x80})
	f.Fuzz(func(t *testing.T, changes []byte) {
		b := slices.Clone(whole)
		for c := range slices.Chunk(changes, 4) {
			if len(c) == 4 {
				b[(int(c[0])<<16|int(c[1])<<8|int(c[2]))%len(b)] ^= c[3]
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		fuzzTools(t, filepath.Dir(filepath.Dir(path)))
	})
}

// fuzzedEvents is the number of events in the fuzzed segment.
const fuzzedEvents = 12

// fuzzedSegment returns the contents of a segment's file without most of the space that is allocated ahead.
func fuzzedSegment(f *testing.F) []byte {
	f.Helper()
	dir := f.TempDir()
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	for i := range fuzzedEvents {
		b := &wal.Batch{Stream: "s", Events: []wal.Event{{Key: "k", Data: make([]byte, 1_000*i)}}}
		if _, err := l.Append(context.Background(), b); err != nil {
			f.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "wal", segment.FileName(1)))
	if err != nil {
		f.Fatal(err)
	}
	return whole[:min(len(whole), 64*os.Getpagesize())]
}

func fuzzTools(t *testing.T, dir string) {
	t.Helper()
	if _, err := inspect.Inspect(t.Context(), dir); err != nil {
		t.Error(err)
	}
	report, err := inspect.Verify(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := inspect.DumpOptions{Damaged: func(why *wal.CorruptError) {
		if report.Damaged == 0 {
			t.Errorf("a dump met %v, verify nothing", why)
		}
	}}
	n := 0
	if err := inspect.Dump(t.Context(), dir, o, func(inspect.DumpedEvent) error { n++; return nil }); err != nil {
		t.Error(err)
	}
	if n != fuzzedEvents && report.Damaged == 0 {
		t.Errorf("a dump gave %d of %d events, verify found nothing", n, fuzzedEvents)
	}
}
