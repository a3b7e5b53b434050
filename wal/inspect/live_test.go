package inspect_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	goSync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// liveTime is how long the tests run beside a log that is being written.
const liveTime = time.Second

// writer appends to its own stream as fast as it can, until stop is closed.
type writer struct {
	stream string
	size   int
	acked  atomic.Uint64 // the highest offset
}

func (w *writer) run(l *wal.Log, stop <-chan struct{}) error {
	for n := uint64(1); ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		data := fmt.Appendf(nil, "%d %0*d", n, w.size, n)
		a, err := l.Append(context.Background(), &wal.Batch{Stream: w.stream, Events: []wal.Event{{Key: fmt.Sprint(n % 100), Data: data, Time: 1}}})
		if err != nil {
			return err
		}
		w.acked.Store(a.First)
	}
}

// startWriters starts writers of small, middle and large events that run concurrently. The returned function stops
// them.
func startWriters(t testing.TB, l *wal.Log) (writers []*writer, stop func()) {
	writers = []*writer{{stream: "small", size: 10}, {stream: "middle", size: 5_000}, {stream: "large", size: 400_000}}
	done := make(chan struct{})
	var all goSync.WaitGroup
	for _, w := range writers {
		all.Go(func() {
			if err := w.run(l, done); err != nil {
				t.Error(err)
			}
		})
	}
	stop = goSync.OnceFunc(func() { close(done); all.Wait() })
	t.Cleanup(stop)
	return writers, stop
}

// checkDump dumps a log and checks that each event equals the appended one, and that the offsets of each stream rise.
// If truncated is false, it also checks that they begin at 1, have no gap, and reach the offsets in acked.
func checkDump(t testing.TB, dir string, acked map[string]uint64, truncated bool) {
	t.Helper()
	next := make(map[string]uint64)
	events, damage := dumpAll(t, dir, inspect.DumpOptions{})
	for _, e := range events {
		if want := max(next[e.Stream], 1); e.Offset != want && (!truncated || e.Offset < want) {
			t.Fatalf("%s: got offset %d, want %d", e.Stream, e.Offset, want)
		}
		next[e.Stream] = e.Offset + 1
		if n, _, _ := strings.Cut(string(e.Data), " "); n != fmt.Sprint(e.Offset) {
			t.Fatalf("%s: got event %s at %d", e.Stream, n, e.Offset)
		}
	}
	for stream, offset := range acked {
		if next[stream] < offset+1 && offset > 0 && !truncated {
			t.Errorf("%s: the dump ends before %d, %d was acked before it", stream, next[stream], offset)
		}
	}
	if len(damage) > 0 {
		t.Errorf("got damage from a dump beside a running log: %v", damage)
	}
}

func TestToolsBesideARunningLog(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 2 << 20})
	writers, stop := startWriters(t, l)
	rounds := 0
	for start := time.Now(); rounds < 2 || time.Since(start) < liveTime; rounds++ { // more than one ends beside the writers
		acked := make(map[string]uint64)
		for _, w := range writers {
			acked[w.stream] = w.acked.Load()
		}
		checkDump(t, dir, acked, false)
		walkit.WantSound(t, dir)
		if _, err := inspect.Inspect(t.Context(), dir); err != nil {
			t.Error(err)
		}
	}
	stop()
	t.Logf("%d rounds beside %+v", rounds, l.Streams())
	walkit.WantSound(t, dir)
}

// Destinations settle events during the inspection, so that the log truncates segments and updates its ledgers.
func TestToolsBesideALogThatTruncates(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 1 << 20})
	streams := []string{"small", "middle", "large"}
	for _, stream := range streams {
		l.OpenCursor(stream, "fast")
		l.OpenCursor(stream, "slow")
	}
	writers, stop := startWriters(t, l)
	for _, stream := range streams {
		for grown := l.Grown(stream); l.Next(stream) == 1; grown = l.Grown(stream) {
			<-grown
		}
	}
	walkit.Sync(t, l) // the cursors are on disk
	before := l.Stat()
	for start := time.Now(); time.Since(start) < liveTime; {
		for i, w := range writers {
			acked := w.acked.Load()
			walkit.Advance(t, l, w.stream, "fast", acked+1)
			walkit.Advance(t, l, w.stream, "slow", acked-acked/uint64(10*(i+1))+1)
		}
		checkDump(t, dir, nil, true)
		walkit.WantSound(t, dir)
		if in, err := inspect.Inspect(t.Context(), dir); err != nil || len(in.Cursors) != 6 {
			t.Errorf("got %+v, %v", in, err)
		}
	}
	stop()
	t.Logf("%+v, then %+v: %+v", before, l.Stat(), l.Streams())
	walkit.Sync(t, l)
	walkit.WantSound(t, dir)
}

const appendingDir = "STANDPIPE_TEST_APPENDING_DIR"

// TestAppendingProcess is the other process of the tests below: it appends until its standard input ends.
func TestAppendingProcess(t *testing.T) {
	dir := os.Getenv(appendingDir)
	if dir == "" {
		return
	}
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 2 << 20})
	_, stop := startWriters(t, l)
	fmt.Println("appending")
	io.Copy(io.Discard, os.Stdin)
	stop()
}

// startAppending runs this test binary as another process that appends.
func startAppending(t testing.TB, dir string) (process *exec.Cmd) {
	t.Helper()
	process = exec.Command(os.Args[0], "-test.run=^TestAppendingProcess$", "-test.v")
	process.Env = append(os.Environ(), appendingDir+"="+dir)
	stdin, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); process.Wait() })
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "appending") {
			go io.Copy(io.Discard, stdout) // until the process ends
			return process
		}
	}
	t.Fatal("the other process ended early")
	return nil
}

func TestToolsBesideAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	process := startAppending(t, dir)
	seen := uint64(0)
	look := func() {
		t.Helper()
		checkDump(t, dir, nil, false)
		got := walkit.WantSound(t, dir).Events.Events
		if got < seen {
			t.Errorf("got %d events, there were %d", got, seen)
		}
		seen = got
	}
	for start := time.Now(); time.Since(start) < liveTime; {
		look()
	}
	testkit.Eventually(t, time.Minute, func() error { // a busy disk takes longer than that for the first append
		if look(); seen == 0 {
			return errors.New("the other process appends nothing")
		}
		return nil
	})
	process.Process.Kill()
	process.Wait()
	look()
}
