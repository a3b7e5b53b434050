package wal

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// FuzzPage: whatever a page holds, reading it neither panics nor gives what lies beyond it.
func FuzzPage(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 4096))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x10\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00" + "kv"))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00" + "\x10\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00" + "k"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, fault := parsePage(2, b)
		if fault != "" {
			return
		}
		if p.used > len(b) || !p.leaf && len(p.elements) == 0 {
			t.Errorf("got %d bytes in use and %d elements on a page of %d bytes", p.used, len(p.elements), len(b))
		}
		for i, e := range p.elements {
			if got := p.find(e.key); got != i {
				t.Errorf("found element %d at %d", i, got)
			}
		}
	})
}

// FuzzSegment: whatever a segment's file holds, the tools end and do not panic.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	l, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := l.Append(context.Background(), &Batch{Stream: "s", Events: []Event{{Key: "k", Data: []byte("data")}}}); err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "wal", segmentName(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:min(len(whole), 16*os.Getpagesize())])
	path := filepath.Join(f.TempDir(), "wal", segmentName(1))
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		fuzzTools(t, filepath.Dir(filepath.Dir(path)))
	})
}

func fuzzTools(t *testing.T, dir string) {
	t.Helper()
	if _, err := Inspect(t.Context(), dir); err != nil {
		t.Error(err)
	}
	report, err := Verify(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := DumpOptions{Damaged: func(why *CorruptError) {
		if report.Damaged == 0 {
			t.Errorf("a dump met %v, verify nothing", why)
		}
	}}
	if err := Dump(t.Context(), dir, o, func(DumpedEvent) error { return nil }); err != nil {
		t.Error(err)
	}
}
