//go:build unix

// The end-to-end tests run the built program as its users do: from outside, over its listeners,
// signals, files and exit codes, against stand-ins for AWS that are not ours (scripts/standins).
// `go test -short` leaves all of them out; a stand-in that is missing is a failure.
package e2e_test

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// standpipe is the program under test: what STANDPIPE_E2E_PROGRAM names, or what is built here
// (with the race detector if STANDPIPE_E2E_RACE is set).
var standpipe = os.Getenv("STANDPIPE_E2E_PROGRAM")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() || standpipe != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "standpipe-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	standpipe = filepath.Join(dir, "standpipe")
	args := []string{"build", "-o", standpipe}
	if os.Getenv("STANDPIPE_E2E_RACE") != "" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/standpipe/standpipe/cmd/standpipe")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// endToEnd opens every test of the built program.
func endToEnd(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the end-to-end tests")
	}
}

// notTested records a check that this machine lacks the means for: in the test's log, and in the file that
// `make test` prints, since go test does not show the log of a test that passes.
func notTested(t *testing.T, what string, err error) {
	t.Helper()
	line := fmt.Sprintf("%s: %s: %v", t.Name(), what, err)
	t.Log("NOT TESTED: " + line)
	path := os.Getenv("STANDPIPE_NOT_TESTED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintln(f, line)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until check returns nil, and fails with its last error after limit.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %v", limit, err)
		}
	}
}

// given holds the addresses that freeAddress has returned.
var given sync.Map

// freeAddress returns an address of loopback that nobody listens on and no other test was given.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, taken := given.LoadOrStore(l.Addr().String(), true); !taken {
			return l.Addr().String()
		}
	}
}

// number reads an environment variable that sets how much a test does.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
