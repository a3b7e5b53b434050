package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// NotTested records a check that this machine cannot run, and lets the test continue.
func NotTested(t testing.TB, what string, reason error) {
	t.Helper()
	line := fmt.Sprintf("%s: %s: %v", t.Name(), what, reason)
	t.Log("NOT TESTED: " + line)
	path := os.Getenv("STANDPIPE_NOT_TESTED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	Must(t, err)
	_, err = fmt.Fprintln(f, line)
	Must(t, errors.Join(err, f.Close()))
}

// Missing ends a test that needs something `make standins` installs: the test fails if STANDPIPE_TEST_COMPLETE is
// set, otherwise it is recorded as not tested and skipped.
func Missing(t testing.TB, what string, reason error) {
	t.Helper()
	if os.Getenv("STANDPIPE_TEST_COMPLETE") != "" {
		t.Fatalf("missing: %s: %v (`make standins` installs it)", what, reason)
	}
	NotTested(t, what+" (`make standins` installs it)", reason)
	t.SkipNow()
}

// Tool returns the path of a program that `make standins` installs, and ends the test with Missing without it.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name, err)
	}
	return path
}
