package wal_test

import (
	"testing"

	"github.com/standpipe/standpipe/wal"
)

func TestTheSecondBlockFillsTheLastPageOfItsLeaf(t *testing.T) {
	const page, beside = 4096, 16 + 2*(16+8)
	for first := 50; first < 100_000; first++ {
		rest := wal.RestOfLeaf(first)
		if rest <= 4096 || rest > 8192 {
			t.Fatalf("got %d bytes after a block of %d, want 4,097 to 8,192", rest, first)
		}
		if got := (first + rest + beside) % page; got != 0 {
			t.Fatalf("got %d bytes in the last page after blocks of %d and %d, want a full page", got, first, rest)
		}
	}
}
