package mqttin_test

import (
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
)

// TestMain fails when a goroutine of the package is left after all tests.
func TestMain(m *testing.M) { testkit.RunTests(m, "standpipe/agent/ingest", nil) }
