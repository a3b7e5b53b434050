package wal_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/wal"
)

// In any configuration, the log fits into the 2 GiB of a 32-bit process: it rolls, reads every segment, and goes on.
func TestMaps_FitInto2GiB(t *testing.T) {
	if strconv.IntSize > 32 {
		t.Skip("needs a 32-bit build: `make test-386` runs it")
	}
	if testing.Short() {
		t.Skip("writes a gigabyte")
	}
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_AS, &limit))
	small := limit
	small.Cur = 2 << 30
	must(t, unix.Setrlimit(unix.RLIMIT_AS, &small))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_AS, &limit)) }()
	for _, size := range []int64{64 << 20, 256 << 20, 1 << 30, rand.Int64N(512<<20) + 1<<20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: size, MaxSize: max(4*size, 1<<30)})
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			data := strings.Repeat("x", 7<<20)
			for range 3 {
				want := 0
				for ; int64(want*len(data)) < min(2*size, 256<<20); want++ {
					appendOne(t, l, "s", "k", data)
				}
				got := 0
				for from := p.Stat().Checkpoint; ; {
					c, err := l.Read("s", from, wal.AllLanes, 1)
					must(t, err)
					got += len(c.Events)
					if from = c.Next; c.End {
						break
					}
				}
				if got != want {
					t.Errorf("got %d events, want %d", got, want)
				}
				settleAll(l, p, p.Stat().Pending)
				sync(t, l)
			}
		})
	}
}

// A commit that does not fit into the newest segment's map is stored all the same, also on a 32-bit platform.
func TestMaps_GrowWithALargeCommit(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10})
	_, err := l.OpenCursor("s", "d")
	must(t, err)
	const events = 5
	for range 3 {
		b := &wal.Batch{Stream: "s"}
		for range events {
			b.Events = append(b.Events, event("k", strings.Repeat("x", 12<<20)))
		}
		_, err := l.Append(t.Context(), b)
		must(t, err)
		appendOne(t, l, "s", "k", "small")
	}
	if got := len(readAll(t, l, "s", 1, wal.AllLanes)); got != 3*(events+1) {
		t.Errorf("got %d events, want %d", got, 3*(events+1))
	}
}
