//go:build unix

// Package e2e_test runs the built program as its users do: from outside, over its listeners, signals, files and exit
// codes, against stand-ins for AWS that other projects wrote (scripts/standins). `go test -short` leaves all of it
// out. Without the stand-ins the tests that need them are skipped and reported as not tested; with
// STANDPIPE_TEST_COMPLETE set they fail.
package e2e_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// standpipe is the program under test: the one that STANDPIPE_E2E_PROGRAM names, or one built here (with the race
// detector if STANDPIPE_E2E_RACE is set).
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
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
}

// lookAtSources stats every file that the program and the scripts are made of. go test caches a result until a file
// changes that a test has looked at; it does not see which files the go build in runTests reads. It records nothing
// before m.Run, so the first test does this.
var lookAtSources = sync.OnceValue(func() error {
	top := filepath.Join("..", "..")
	for _, name := range []string{"agent", "client", "cmd", "proto", "scripts", "shipper", "wal", "go.mod", "go.sum"} {
		err := filepath.WalkDir(filepath.Join(top, name), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
})

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
