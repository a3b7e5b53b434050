package wal_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// notTested records a check that this machine lacks the means for: in the test's log, and in the file that
// `make test` prints, since go test does not show the log of a test that passes.
func notTested(t testing.TB, what string, err error) {
	t.Helper()
	line := fmt.Sprintf("%s: %s: %v", t.Name(), what, err)
	t.Log("NOT TESTED: " + line)
	path := os.Getenv("STANDPIPE_NOT_TESTED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(t, err)
	_, err = fmt.Fprintln(f, line)
	must(t, errors.Join(err, f.Close()))
}
