package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// openWorkload names the environment variable for the data directory of a log that is opened under strace.
const openWorkload = "STANDPIPE_WAL_OPEN_WORKLOAD"

func openOnly(dir string) int {
	runtime.LockOSThread()
	l, err := wal.Open(context.Background(), sampleOptions(dir))
	if err != nil {
		fmt.Println("refused", err)
		return 0
	}
	if f, err := os.Open(openedMark(dir)); err == nil { // visible in the trace
		f.Close()
	}
	for _, stream := range []string{"old", "new"} {
		if st := l.Cursors(stream)[0].Stat(); len(st.Dropped) > 0 || st.Pending != st.Appended {
			fmt.Printf("lost %+v\n", st)
		}
	}
	if err := l.Close(); err != nil {
		fmt.Println("close", err)
	}
	fmt.Println("opened")
	return 0
}

// openedMark returns the path that the workload tries to open once the log is open. The file need not exist.
func openedMark(dir string) string { return dir + ".opened" }

// TestReadError_OfOpenIsNoDamage makes the k-th read of Open fail, once or from then on, for k from 1 in steps of 7 (23
// with -short). A temporary error loses nothing, and a permanent one leaves the log unchanged.
func TestReadError_OfOpenIsNoDamage(t *testing.T) {
	strace := testkit.Tool(t, "strace")
	s := newSample(t)
	for _, fault := range []string{"EIO", "ETIMEDOUT", "ENOMEM"} {
		for _, lasts := range []string{"", "+"} {
			t.Run(fault+lasts, func(t *testing.T) {
				t.Parallel()
				k, step := 1, 7
				if testing.Short() {
					step = 23
				}
				for failRead(t, strace, &s, fault, fmt.Sprint(k, lasts)) && !t.Failed() {
					k += step
				}
				if k == 1 && !t.Failed() {
					t.Error("no read was made to fail")
				}
			})
		}
	}
}

func failRead(t *testing.T, strace string, s *sample, fault, when string) (hit bool) {
	t.Helper()
	dir, trace := s.copy(t), filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-qq", "-o", trace, "-e", "trace=pread64,openat", "-P", openedMark(dir), "-e", fmt.Sprintf("inject=pread64:error=%s:when=%s", fault, when)}
	for _, file := range s.files {
		args = append(args, "-P", filepath.Join(dir, "wal", file))
	}
	before := contents(t, dir)
	cmd := exec.Command(strace, append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), openWorkload+"="+dir, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	must(t, err)
	calls, err := os.ReadFile(trace)
	must(t, err)
	calls, _, _ = bytes.Cut(calls, []byte(openedMark(dir))) // later reads are not those of Open
	hit = bytes.Contains(calls, []byte("(INJECTED)"))
	refused, lasts := bytes.HasPrefix(out, []byte("refused")), strings.HasSuffix(when, "+")
	switch {
	case refused != (lasts && hit):
		t.Errorf("read %s says %s: got %s", when, fault, out)
	case refused && !maps.Equal(before, contents(t, dir)):
		t.Errorf("read %s says %s: the log was changed: %s", when, fault, out)
	}
	if lost := s.checkDamaged(t, dir); lost > 0 || bytes.Contains(out, []byte("lost")) {
		t.Errorf("read %s says %s: got %d events lost: %s", when, fault, lost, out)
	}
	return hit
}
