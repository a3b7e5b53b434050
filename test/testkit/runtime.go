package testkit

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// RunTests runs the tests of a package and ends the process. It fails if a goroutine that runs code of the package
// ("standpipe/client") is left. TestMain calls it. stop, which may be nil, is called after the tests.
func RunTests(m *testing.M, pkg string, stop func()) {
	code := m.Run()
	if stop != nil {
		stop()
	}
	if left := goroutinesLeft(pkg); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// goroutinesLeft returns the stacks of the goroutines that still run code of a package three minutes after the call, or ""
// as soon as there are none. The stack of TestMain does not count.
func goroutinesLeft(pkg string) (left string) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var stacks bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		left = ""
		for stack := range bytes.SplitSeq(stacks.Bytes(), []byte("\n\n")) {
			if bytes.Contains(stack, []byte(pkg)) && !bytes.Contains(stack, []byte("TestMain")) {
				left += string(stack) + "\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

// HeapInUse returns the bytes of the heap in use after two collections: the second frees the contents of pools.
func HeapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
