package wal_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/wal"
)

// backlogSize names the environment variable that sets the size of the backlog that the test below opens and reads.
const backlogSize = "STANDPIPE_WAL_BACKLOG"

// Reading a backlog takes no memory in proportion to it. The time to open the log is logged beside the time to open an
// empty one.
func TestBacklog_CostsNoMemory(t *testing.T) {
	size := uint64(128 << 20)
	if text := os.Getenv(backlogSize); text != "" {
		var err error
		size, err = humanize.ParseBytes(text)
		must(t, err)
	}
	o := wal.Options{Dir: t.TempDir(), MaxSize: int64(size)*5/4 + 256<<20, SegmentSize: min(64<<20, int64(size/8))}
	empty := timeOpen(t, wal.Options{Dir: t.TempDir(), MaxSize: o.MaxSize, SegmentSize: o.SegmentSize})
	events := fillBacklog(t, o, size)
	full := timeOpen(t, o)
	t.Logf("opened in %v with a backlog of %s, in %v without", full, humanize.IBytes(size), empty)

	l := open(t, o)
	debug.FreeOSMemory()
	before, most, read := rssAnon(t), int64(0), 0
	for chunk := (wal.Chunk{Next: 1}); !chunk.End; {
		var err error
		chunk, err = l.Read("s", chunk.Next, wal.AllLanes, 1<<20)
		must(t, err)
		if read += len(chunk.Events); read%100 < 3 || chunk.End {
			most = max(most, rssAnon(t))
		}
	}
	t.Logf("%d events read; RssAnon %s before, %s at most", read, humanize.IBytes(uint64(before)), humanize.IBytes(uint64(most)))
	if read != events || most-before > 64<<20 {
		t.Errorf("got %d events and %d bytes of memory more, want %d events and less than 64 MiB", read, most-before, events)
	}
}

func fillBacklog(t *testing.T, o wal.Options, size uint64) (events int) {
	t.Helper()
	l, err := wal.Open(bg, o)
	must(t, err)
	b := &wal.Batch{Stream: "s"}
	for i := range 1000 {
		b.Events = append(b.Events, event(fmt.Sprint("k", i), strings.Repeat("x", 1024)))
	}
	for uint64(events)<<10 < size {
		if _, err := l.Append(bg, b); err != nil {
			t.Fatal(err)
		}
		events += len(b.Events)
	}
	must(t, l.Close())
	return events
}

func timeOpen(t *testing.T, o wal.Options) time.Duration {
	t.Helper()
	start := time.Now()
	l, err := wal.Open(bg, o)
	must(t, err)
	took := time.Since(start)
	must(t, l.Close())
	return took
}

// rssAnon returns the process's resident memory without file-backed pages.
func rssAnon(t *testing.T) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscanf(rest, "%d kB", &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}
