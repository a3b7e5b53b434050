package s3_test

import (
	"os"
	"testing"
)

// The fake serves HTTP, so no test needs the CA bundle of the machine. Parsing it for each sink takes most of the tests' time.
func TestMain(m *testing.M) {
	os.Unsetenv("AWS_CA_BUNDLE")
	os.Exit(m.Run())
}
