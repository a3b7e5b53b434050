package ingest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
)

// TestMain fails when a goroutine of the package is left after all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := testkit.GoroutinesLeft("standpipe/agent/ingest"); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}
