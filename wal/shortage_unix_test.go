//go:build unix

package wal_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// Clients use up all descriptors that the process may have, more than once. The log still rolls, reads sealed segments,
// and truncates, with the descriptors that it keeps in reserve.
func TestShortage_OfDescriptorsIsTheClients(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10})
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	appendOne(t, l, "s", "k", "first")
	var taken []*os.File
	defer func() {
		for _, f := range taken {
			f.Close()
		}
	}()
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur = 128
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	for round := range 3 {
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			taken = append(taken, f)
		}
		for i := range 40 {
			if _, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 32<<10))}}); err != nil {
				t.Fatalf("round %d, append %d: %v", round, i, err)
			}
		}
		if n := len(readAll(t, l, "s", p.Stat().Checkpoint, wal.AllLanes)); n < 40 {
			t.Errorf("round %d: got %d events, want 40 at least", round, n)
		}
		if got := l.Stat().Segments; got < 3 {
			t.Errorf("round %d: got %d segments, want it to roll", round, got)
		}
		settleAll(l, p, p.Stat().Pending)
		sync(t, l)
		for _, f := range taken[:len(taken)/2] {
			must(t, f.Close())
		}
		taken = slices.Delete(taken, 0, len(taken)/2)
	}
}
