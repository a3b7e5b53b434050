// Package draw chooses the seeds of tests that draw their parameters. The parameters of a test are the same in every run,
// unless other ones are wanted. So a failure at one commit can be repeated on every machine.
package draw

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seed returns the seed of a test and logs it. It is the same in every run, so a change is judged by the cases that its
// author has seen. STANDPIPE_SEED=random draws another one, and STANDPIPE_SEED=N runs the cases of seed N again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed, err := seedOf(t.Name(), os.Getenv("STANDPIPE_SEED"))
	if err != nil {
		t.Fatalf("STANDPIPE_SEED is neither random nor a number from 0 to 2^64-1: %v", err)
	}
	t.Logf("STANDPIPE_SEED=%d", seed)
	return seed
}

func seedOf(test, setting string) (uint64, error) {
	switch setting {
	case "":
		h := fnv.New64a()
		h.Write([]byte(test))
		return h.Sum64(), nil
	case "random":
		return rand.Uint64(), nil
	}
	return strconv.ParseUint(setting, 10, 64)
}
