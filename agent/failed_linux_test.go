package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/wal"
)

// breakLog lets every write to the segments of a's log in dir fail from now on. Earlier settled events have their checkpoint.
func breakLog(t *testing.T, a *running, dir string) {
	t.Helper()
	if err := a.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	breakSegments(t, dir)
}

func breakSegments(t *testing.T, dir string) {
	t.Helper()
	null, err := os.Open(os.DevNull) // for reading
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for _, f := range open {
		target, err := os.Readlink("/proc/self/fd/" + f.Name())
		if err != nil || !strings.HasPrefix(target, filepath.Join(dir, "wal")+"/") {
			continue
		}
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		broken++
	}
	if broken == 0 {
		t.Fatal("no segment is open")
	}
}

// waitingFile is a stream whose events wait in memory to be batched before they are written.
func waitingFile(delay string) string {
	return `
stream "s" {
  destination "file" "a" {
    path = "DIR/a"
    batch { max_delay = "` + delay + `" }
  }
}`
}

const other = `
stream "other" {
  destination "file" "a" { path = "DIR/other" }
}`

// An agent whose log has failed ships nothing more, since it could not store a checkpoint for it, and stays for the
// second in which operators can see why it ends, however long a stop may take.
func TestFailedLog_EndsWithoutShipping(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, waitingFile("10m"))
	conf.ShutdownTimeout = 10 * time.Minute
	said := &transcript{}
	a := start(t, conf, said.logger())
	client := dial(t, conf)
	send(t, client, "s", 10)
	breakLog(t, a, dir)
	if got := codeOf(t, client, "s", "k", "1"); got != codes.Unavailable {
		t.Errorf("got %v from a log that fails, want Unavailable", got)
	}
	if s := a.Status(); problem(a.Agent, "failed") == nil || s.Accepting.Reason != "failed" || s.Agent.State != "failed" || a.Ready() == nil {
		t.Errorf("got %+v and %+v, want the failure at once", s.Accepting, s.Problems)
	}
	select {
	case err := <-a.ended:
		a.ended <- nil
		if !errors.Is(err, wal.ErrFailed) {
			t.Errorf("got %v, want %v", err, wal.ErrFailed)
		}
	case <-time.After(time.Minute):
		t.Fatal("the agent has not ended within a minute")
	}
	if got := lines(t, dir+"/a"); got != 0 {
		t.Errorf("got %d lines that were shipped after the failure", got)
	}
	if said.count("stopping: within=1s") != 1 {
		t.Error("it does not end after the second that a failed agent stays")
	}
}

// A file gets its name once the log holds the checkpoint that vouches for its lines, at a stop.
func TestStop_NamesNoFileWithoutItsCheckpoint(t *testing.T) {
	for written := 0; written == 0; { // none if the log broke before the destination had stored its first state
		dir := t.TempDir()
		conf := parse(t, dir, waitingFile("10m"))
		conf.ShutdownTimeout = time.Minute
		a := start(t, conf, hclog.NewNullLogger())
		send(t, dial(t, conf), "s", 10)
		breakLog(t, a, dir)
		if err := a.stop(t); !errors.Is(err, wal.ErrFailed) {
			t.Errorf("got %v, want %v", err, wal.ErrFailed)
		}
		if written = lines(t, dir+"/a"); written != 0 && written != 10 {
			t.Fatalf("got %d lines written by the stop, want 10", written)
		}
		if got := count(t, dir+"/a/*/*/*/*/*.jsonl"); got != 0 {
			t.Errorf("got %d finished files that no checkpoint vouches for", got)
		}
		expectOnceAfterStart(t, dir)
	}
}

// A file gets its name once the log holds the checkpoint that vouches for its lines, also of a destination that a
// reload removes or replaces.
func TestReload_NamesNoFileWithoutItsCheckpoint(t *testing.T) {
	for name, next := range map[string]string{"removed": other, "replaced": strings.ReplaceAll(waitingFile("10ms"), "DIR/a", "DIR/b") + other} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			conf := parse(t, dir, waitingFile("10ms"))
			a := start(t, conf, hclog.NewNullLogger())
			client := dial(t, conf)
			for n := range 10 { // the last of them usually wait for their checkpoint
				send(t, client, "s", 1)
				until(t, "it is in the file", func() bool { return destination(t, a.Agent, "s", "a").Delivered.Events == uint64(n)+1 })
			}
			breakSegments(t, dir)
			if err := a.Reload(parse(t, dir, next)); err != nil {
				t.Logf("the log had failed before: %v", err)
			}
			a.stop(t)
			l, err := wal.Open(t.Context(), wal.Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			vouched := int(l.Cursors("s")[0].Stat().Checkpoint) - 1
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := linesOf(t, dir+"/?/*/*/*/*/*.jsonl"); got > vouched {
				t.Errorf("got %d lines in finished files, where the checkpoint vouches for %d", got, vouched)
			}
			expectOnceAfterStart(t, dir)
		})
	}
}

// expectOnceAfterStart starts the agent again on a disk that works and expects each of the ten events once.
func expectOnceAfterStart(t *testing.T, dir string) {
	t.Helper()
	conf := parse(t, dir, waitingFile("10ms"))
	a := start(t, conf, hclog.NewNullLogger())
	until(t, "all is delivered", func() bool { return destination(t, a.Agent, "s", "a").Pending.Events == 0 })
	if err := a.stop(t); err != nil {
		t.Error(err)
	}
	if got := lines(t, dir+"/a"); got != 10 {
		t.Errorf("got %d lines after another start, want 10", got)
	}
}
