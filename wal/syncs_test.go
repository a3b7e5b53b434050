package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// syncsWorkload names the environment variable for the data directory of a workload whose syncs are counted.
const syncsWorkload = "STANDPIPE_WAL_SYNCS_WORKLOAD"

func init() { workloads[syncsWorkload] = syncsOf }

// syncsOf opens a log and appends as often as the variable syncsAppends says.
func syncsOf(dir string) int {
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, _ := strconv.Atoi(os.Getenv(syncsAppends))
	for range n {
		if _, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if err := l.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

const syncsAppends = "STANDPIPE_WAL_SYNCS_APPENDS"

// An append has one sync. The first one after an open has two: pages of an interrupted commit may have its number. Close has one:
// it stores the small commits in their buckets.
func TestSyncs_OfACommit(t *testing.T) {
	strace := testkit.Tool(t, "strace")
	dir := t.TempDir()
	syncs := func(appends int) int {
		t.Helper()
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command(strace, "-f", "-qq", "-o", trace, "-e", "trace=fdatasync", os.Args[0])
		cmd.Env = append(os.Environ(), syncsWorkload+"="+dir, syncsAppends+"="+strconv.Itoa(appends), "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		calls, err := os.ReadFile(trace)
		must(t, err)
		return bytes.Count(calls, []byte("fdatasync("))
	}
	syncs(1) // it creates the log
	syncs(1) // it has no event before the first append
	none, one, many := syncs(0), syncs(1), syncs(21)
	if many-one != 20+1 {
		t.Errorf("got %d syncs of 20 more appends and the close, want one each", many-one)
	}
	if one-none != 2 {
		t.Errorf("got %d syncs of an open with an append and %d of one without, want 2 more", one, none)
	}
}
