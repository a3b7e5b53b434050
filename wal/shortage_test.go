package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// shortWorkload names the environment variable for the data directory of the workload that runs short of a resource.
const shortWorkload = "STANDPIPE_WAL_SHORT_WORKLOAD"

// shortEvents is the number of events that the workload appends.
const shortEvents = 48

// shortOptions returns options for small segments, which are compacted as soon as only a stuck lane needs them.
func shortOptions(dir string) wal.Options {
	return wal.Options{Dir: dir, SegmentSize: 256 << 10}.Rewriting()
}

// shortOf appends, rolls, reads, settles, truncates, compacts and stores dead letters. It retries each step until it
// succeeds, as producers and destinations do. It prints the steps that kept failing, and the error that ended the log.
func shortOf(dir string) int {
	var l *wal.Log
	if !again("open", func() (err error) {
		l, err = wal.Open(context.Background(), shortOptions(dir))
		return err
	}) {
		return 1
	}
	dead := deadletter.Open(dir, deadletter.Options{})
	p, err := l.OpenCursor("s", "d")
	if err != nil {
		fmt.Println("place", err)
		return 1
	}
	stuck := wal.LaneOf("key0")
	for n := range shortEvents {
		data := fmt.Sprintf("%040000d", n)
		ok := again("append", func() error {
			_, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{event(fmt.Sprint("key", n%4), data)}})
			return err
		})
		if n%8 == 7 {
			ok = ok && again("settle", func() error { return settleAllBut(l, p, stuck) })
			ok = ok && again("read", func() error { return readTo(l) })
			ok = ok && again("put", func() error {
				return dead.Put(deadletter.Letter{Stream: "s", Destination: "d", Event: event("k", "dead")})
			})
		}
		if !ok || l.Failed() != nil {
			fmt.Println("ended", l.Failed())
			return 1
		}
	}
	for l.Rewriting() {
		time.Sleep(time.Millisecond)
	}
	for _, end := range []func() error{l.Close, dead.Close} {
		if err := end(); err != nil {
			fmt.Println("close", err) // all data is stored by then
		}
	}
	fmt.Println("done")
	return 0
}

// again calls f until it succeeds, at most for the seconds that a producer would wait.
func again(what string, f func() error) bool {
	var err error
	for range 1000 {
		if err = f(); err == nil {
			return true
		}
		if errors.Is(err, wal.ErrFailed) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println(what, err)
	return false
}

// settleAllBut settles all lanes but one up to the end of the stream, and syncs the log.
func settleAllBut(l *wal.Log, p *wal.Cursor, stuck uint8) error {
	next := l.Next("s")
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		if lane != stuck {
			marks[lane] = wal.Progress{Checkpoint: next}
		}
	}
	events := (next - 1) / 4 * 3
	before := p.Stat().Delivered.Events
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: wal.Count{Events: events - before, Bytes: 40_000 * (events - before)}}})
	return l.Sync(context.Background())
}

// readTo reads all events of the stuck lane and checks their number.
func readTo(l *wal.Log) error {
	lanes := wal.LaneSet(1) << wal.LaneOf("key0")
	got := uint64(0)
	for from := uint64(1); ; {
		chunk, err := l.Read("s", from, lanes, 1<<20)
		if err != nil {
			return err
		}
		got += uint64(len(chunk.Events))
		if from = chunk.Next; chunk.End {
			if want := (l.Next("s") + 2) / 4; got != want {
				return fmt.Errorf("got %d events, want %d", got, want)
			}
			return nil
		}
	}
}

var shortages = []string{"EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR", "ENOSPC", "EDQUOT"}

// TestShortage_NeverEndsTheLog makes the k-th call of each thread fail, and sometimes the five calls after it, for
// rising k until no call is left. It does so for each kind of call that comes before the first write of a commit.
func TestShortage_NeverEndsTheLog(t *testing.T) {
	strace := testkit.Tool(t, "strace")
	for _, c := range []struct {
		call string
		dead bool   // also calls for the dead letters
		only string // only files with this ending
		also string // a second fault, at every call
	}{
		{call: "openat", dead: true},
		{call: "/^mmap", dead: true},
		{call: "fallocate"},
		{call: "flock", dead: true},
		{call: "/^ftruncate"},
		{call: "/^ftruncate", also: "fallocate:error=EOPNOTSUPP"},
		{call: "/^rename", dead: true},
		{call: "/^unlink"},
		{call: "pwrite64", only: ".new"},
		{call: "fdatasync", only: ".new"},
	} {
		t.Run(strings.TrimPrefix(c.call, "/^")+c.only+strings.TrimSuffix(c.also, ":error=EOPNOTSUPP"), func(t *testing.T) {
			t.Parallel()
			var paths []string
			for n := range 40 {
				name := fmt.Sprintf("wal/%016d.seg", n+1)
				paths = append(paths, name+".new")
				if c.only == "" {
					paths = append(paths, name)
				}
			}
			if c.dead {
				paths = append(paths, "dead.db", "dead.db.new")
			}
			step := 1
			if testing.Short() {
				step = 5
			}
			k := 1
			for runShort(t, strace, c.call, c.also, k, paths) && !t.Failed() {
				k += step
			}
			if k == 1 && !t.Failed() {
				t.Errorf("no %s was made to fail", c.call)
			}
		})
	}
}

// runShort runs the workload with a failing k-th call, or with the k-th and the next five calls failing. hit: a call
// failed.
func runShort(t *testing.T, strace, call, also string, k int, paths []string) (hit bool) {
	t.Helper()
	dir, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	fault := shortages[k%len(shortages)]
	when := fmt.Sprint(k)
	if k/len(shortages)%2 == 1 {
		when = fmt.Sprintf("%d..%d", k, k+5)
	}
	args := []string{"-f", "-qq", "-o", trace, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%s", call, fault, when)}
	if also != "" {
		name, _, _ := strings.Cut(also, ":")
		args = append(args, "-e", "trace="+call+","+name, "-e", "inject="+also)
	}
	for _, p := range paths {
		args = append(args, "-P", filepath.Join(dir, p))
	}
	cmd := exec.Command(strace, append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), shortWorkload+"="+dir, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("done")) {
		t.Errorf("%s number %s said %s: %v:\n%s", call, when, fault, err, out)
	}
	calls, err := os.ReadFile(trace)
	must(t, err)
	checkShort(t, dir)
	hits := bytes.Count(calls, []byte("(INJECTED)")) - bytes.Count(calls, []byte("EOPNOTSUPP"))
	return hits > 0
}

// checkShort compares the log and the dead letters that the workload left with its actions.
func checkShort(t *testing.T, dir string) {
	t.Helper()
	wantSound(t, dir)
	l := open(t, shortOptions(dir))
	defer l.Close()
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	st := p.Stat()
	if want := uint64(shortEvents / 4); st.Pending.Events != want || st.Appended.Events != shortEvents || len(st.Dropped) > 0 {
		t.Errorf("got %+v, want %d appended and %d pending", st, shortEvents, want)
	}
	must(t, readTo(l))
	if aside, _ := filepath.Glob(filepath.Join(dir, "*/*.corrupt*")); len(aside) > 0 {
		t.Errorf("got %v set aside", aside)
	}
	dead := deadletter.Open(dir, deadletter.Options{})
	letters, err := dead.List(t.Context(), deadletter.Query{})
	if err != nil || len(letters) < shortEvents/8 {
		t.Errorf("got %d letters and %v, want %d", len(letters), err, shortEvents/8)
	}
	must(t, dead.Close())
}
