//go:build unix

package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

const stdoutStream = `
stream "log" {
  destination "stdout" "console" {
    retry {
      max     = "500ms"
      timeout = "1s"
    }
  }
  destination "file" "archive" { path = "${dir}/out" }
}
`

// reader reads the lines of a pipe, as a container runtime does, and can pause.
type reader struct {
	mu    sync.Mutex
	lines []string // guarded by mu
	pause atomic.Bool
}

// pipeTo gives the agent a named pipe as its standard output. The test has it open for writing too, so that it never ends.
func pipeTo(t *testing.T, a *agent) *reader {
	t.Helper()
	name := a.path("stdout")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if a.output, err = os.OpenFile(name, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { both.Close(); a.output.Close() })
	r := &reader{}
	go func() {
		for b := bufio.NewReader(both); ; {
			for r.pause.Load() {
				time.Sleep(10 * time.Millisecond)
			}
			line, err := b.ReadString('\n')
			if err != nil {
				return
			}
			r.mu.Lock()
			r.lines = append(r.lines, line)
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *reader) read() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines[:len(r.lines):len(r.lines)]
}

// check requires each number from 0 to n-1, in order. After each of up to kills kills some may come again.
func (r *reader) check(t *testing.T, n, kills int) {
	t.Helper()
	next, back := 0, 0
	for i, line := range r.read() {
		var e struct{ N *int }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.N == nil {
			t.Fatalf("line %d: %v: %.200q", i, err, line)
		}
		switch {
		case *e.N < next:
			back++
			next = *e.N + 1
		case *e.N > next:
			t.Fatalf("line %d: got event %d, want %d", i, *e.N, next)
		default:
			next++
		}
	}
	if next != n || back > kills {
		t.Errorf("got %d events, %d times back; want %d, at most %d times", next, back, n, kills)
	}
}

func numbered(from, n int) (events []event) {
	for i := from; i < from+n; i++ {
		events = append(events, event{fmt.Sprint("k", i%20), fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", i%300))})
	}
	return events
}

func TestStdout_WaitsForAReader(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := newAgent(t, "", stdoutStream)
	r := pipeTo(t, a)
	a.start()
	send(t, a.dial(), "log", numbered(0, 100))
	a.waitDelivered("log", 100, 20*time.Second)

	// Without a reader the destination is blocked. Its sibling is not.
	r.pause.Store(true)
	send(t, a.dial(), "log", numbered(100, 5000))
	testkit.Eventually(t, 30*time.Second, func() error {
		s := a.stream("log")
		if c := s.destination("console"); c.State != "blocked" || !strings.Contains(c.LastError, "nobody reads standard output") {
			return fmt.Errorf("got state %s: %s", c.State, c.LastError)
		}
		if f := s.destination("archive"); f.Delivered.Events != 5100 {
			return fmt.Errorf("the file has %d events", f.Delivered.Events)
		}
		return nil
	})
	r.pause.Store(false)
	a.waitDelivered("log", 5100, 30*time.Second)
	a.stop()
	testkit.Eventually(t, 10*time.Second, func() error {
		if n := len(r.read()); n != 5100 {
			return fmt.Errorf("got %d lines", n)
		}
		return nil
	})
	r.check(t, 5100, 0)
}

func TestStdout_SurvivesKills(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := newAgent(t, "", stdoutStream)
	r := pipeTo(t, a)
	kills := number(t, "STANDPIPE_E2E_KILLS", 10)
	sent := 0
	for range kills {
		a.start()
		n := 200 + rand.IntN(2000)
		send(t, a.dial(), "log", numbered(sent, n))
		sent += n
		if rand.IntN(2) == 0 {
			time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		}
		a.kill()
	}
	a.start()
	a.waitDelivered("log", sent, 30*time.Second)
	a.stop()
	testkit.Eventually(t, 10*time.Second, func() error {
		if n := len(r.read()); n < sent {
			return fmt.Errorf("got %d lines, want at least %d", n, sent)
		}
		return nil
	})
	r.check(t, sent, kills)
}

// The agent survives a reader that has gone.
func TestStdout_OfABrokenPipe(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := newAgent(t, "", stdoutStream)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a.output = write
	a.start()
	write.Close()
	read.Close()
	send(t, a.dial(), "log", numbered(0, 100))
	testkit.Eventually(t, 20*time.Second, func() error {
		s := a.stream("log")
		if c := s.destination("console"); c.State != "blocked" || !strings.Contains(c.LastError, "pipe") {
			return fmt.Errorf("got state %s: %s", c.State, c.LastError)
		}
		if f := s.destination("archive"); f.Delivered.Events != 100 {
			return fmt.Errorf("the file has %d events", f.Delivered.Events)
		}
		return a.expectCode("/readyz", http.StatusOK)
	})
	a.stop()
}
