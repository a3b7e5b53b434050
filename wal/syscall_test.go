package wal_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// stepsWorkload names the environment variable for the data directory of the workload whose system calls fail.
const stepsWorkload = "STANDPIPE_WAL_STEPS_WORKLOAD"

func stepsOptions(dir string) wal.Options { return wal.Options{Dir: dir, SegmentSize: 64 << 10} }

// steps opens a log twice, and appends, settles and rolls each time. It prints the outcome of each step. strace counts
// the calls of each thread separately, so the goroutines stay on their threads. The main goroutine opens and closes the
// log, and commits every other append. The committer commits the rest. Background work runs on the remaining threads.
func steps(dir string) int {
	runtime.LockOSThread()
	number := 0
	for range 2 {
		l := openAtLast(dir)
		if l == nil {
			return 1
		}
		fmt.Println("opened")
		for range 6 {
			number++
			fmt.Println(outcome(step(l, number)), number)
			settleStep(l, number)
		}
		if err := l.Close(); err != nil {
			fmt.Println("close", err)
		}
	}
	return 0
}

// openAtLast opens the log. If a call fails, that may take several attempts.
func openAtLast(dir string) *wal.Log {
	o := stepsOptions(dir)
	o.OnCommit = func(wal.CommitInfo) { runtime.LockOSThread() }
	for range 4 {
		l, err := wal.Open(context.Background(), o)
		if err == nil {
			return l
		}
		fmt.Println("open", err)
	}
	return nil
}

// step appends a batch. The committer commits the batches with odd numbers.
func step(l *wal.Log, number int) error {
	b := stepBatch(number)
	b.Awaited = number%2 == 0
	t, err := l.Submit(context.Background(), b)
	if err == nil {
		_, err = t.Wait(context.Background())
	}
	return err
}

func stepBatch(number int) *wal.Batch {
	return &wal.Batch{Stream: "s", Events: []wal.Event{event("k", fmt.Sprintf("%020000d", number))}}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "acked"
	case errors.Is(err, wal.ErrFull):
		return "refused"
	case errors.Is(err, wal.ErrFailed):
		return "failed"
	}
	return fmt.Sprintf("error %q of", err)
}

// settleStep settles some events at every fourth step, which makes a checkpoint and truncates the oldest segments.
func settleStep(l *wal.Log, number int) {
	p, err := place(l, "s", "d")
	if err != nil || number%4 != 0 {
		return
	}
	from := p.Stat().Checkpoint
	until := from + (l.Next("s")-from)/2
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: until}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: wal.Count{Events: until - from, Bytes: 20_000 * (until - from)}}})
	_ = l.Sync(context.Background()) // a log that has failed returns the error at the next append
}

// TestFault_EverySystemCallFailsOnce makes the k-th write, sync, and so on fail, for rising k until no call is left.
func TestFault_EverySystemCallFailsOnce(t *testing.T) {
	strace := testkit.Tool(t, "strace")
	for _, call := range []string{"pwrite64", "fdatasync", "fsync", "fallocate", "/^ftruncate", "/^rename", "/^unlink"} {
		for _, fault := range []string{"EIO", "ENOSPC", "EDQUOT"} {
			if fault == "EDQUOT" && call != "pwrite64" && call != "fallocate" && call != "fdatasync" {
				continue // same as ENOSPC
			}
			t.Run(strings.TrimPrefix(call, "/^")+"/"+fault, func(t *testing.T) {
				t.Parallel()
				k, step := 1, 1
				if testing.Short() {
					step = 7
				}
				for failStep(t, strace, call, fault, k) && !t.Failed() {
					k += step
				}
				if k == 1 && !t.Failed() {
					t.Errorf("no %s was made to fail", call)
				}
			})
		}
	}
}

// failStep runs the workload with the k-th call of each of its threads failing, and checks the log. hit: there was such
// a call.
func failStep(t *testing.T, strace, call, fault string, k int) (hit bool) {
	t.Helper()
	dir, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "--seccomp-bpf", "-qq", "-o", trace, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call, fault, k), os.Args[0])
	cmd.Env = append(os.Environ(), stepsWorkload+"="+dir, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %d %s: %v: %s", call, k, fault, err, out)
	}
	calls, err := os.ReadFile(trace)
	must(t, err)
	if !checkSteps(t, dir, out) {
		t.Errorf("the calls number %d of %s said %s; the workload:\n%s", k, call, fault, out)
	}
	return bytes.Contains(calls, []byte("(INJECTED)"))
}

// checkSteps compares the outcomes that the workload printed with the events after a reopen: all acked events, at most
// the first failed one of each log, and no others.
func checkSteps(t *testing.T, dir string, out []byte) bool {
	t.Helper()
	var stored, unknown []int
	failed := false
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var what string
		var number int
		fmt.Sscanf(lines.Text(), "%s %d", &what, &number)
		switch {
		case what == "opened":
			failed = false
		case what == "acked" && failed:
			t.Errorf("append %d was acked after the log had failed", number)
		case what == "acked":
			stored = append(stored, number)
		case what == "failed" && !failed:
			failed = true
			unknown = append(unknown, number)
		case what != "failed" && what != "refused" && what != "open" && what != "close":
			t.Errorf("got %q", lines.Text())
		}
	}
	wantSound(t, dir)
	l := open(t, stepsOptions(dir))
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	var got []int
	for _, e := range readAll(t, l, "s", p.Stat().Checkpoint, wal.AllLanes) {
		var number int
		fmt.Sscanf(string(e.Data), "%d", &number)
		got = append(got, number)
	}
	if st := p.Stat(); st.Pending.Events != uint64(len(got)) || st.Appended.Events != l.Next("s")-1 {
		t.Errorf("got %+v with %d events from the checkpoint on", st, len(got))
	}
	checkNumbers(t, int(l.Next("s")-1), got, stored, unknown)
	if _, err := l.Append(t.Context(), stepBatch(1000)); err != nil {
		t.Errorf("got %v from an append on a healthy disk", err)
	}
	must(t, l.Close())
	return !t.Failed()
}

// checkNumbers checks the number of events that were ever stored, appended, and the events that are left of them, got.
// Those must be the last ones.
func checkNumbers(t *testing.T, appended int, got, stored, unknown []int) {
	t.Helper()
	if appended < len(stored) || appended > len(stored)+len(unknown) {
		t.Errorf("got %d events appended, want the %d acked and of %v any", appended, len(stored), unknown)
	}
	want := slices.DeleteFunc(append(slices.Clone(stored), unknown...), func(n int) bool {
		return slices.Contains(unknown, n) && !slices.Contains(got, n)
	})
	slices.Sort(want)
	if !slices.Equal(got, want[max(0, len(want)-len(got)):]) {
		t.Errorf("got events %v, want the last of %v", got, want)
	}
}
