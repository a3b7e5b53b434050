package ingest_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime/pprof"
	"testing"
	"time"
)

// TestMain fails when a goroutine of the package is left after all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := goroutinesLeft(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// goroutinesLeft waits a little for the last ones to end.
func goroutinesLeft() (left string) {
	for range 100 {
		var stacks bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		left = ""
		for stack := range bytes.SplitSeq(stacks.Bytes(), []byte("\n\n")) {
			own := bytes.Contains(stack, []byte("standpipe/agent/ingest"))
			if own && !bytes.Contains(stack, []byte("TestMain")) {
				left += string(stack) + "\n"
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}
