package testkit

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"time"
)

// GoroutinesLeft returns the stacks of the goroutines that run code of a package ("standpipe/client") one second
// after the call, or "" as soon as there are none. TestMain calls it after all tests; its own stack does not count.
func GoroutinesLeft(pkg string) (left string) {
	for range 100 {
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
		time.Sleep(10 * time.Millisecond)
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
