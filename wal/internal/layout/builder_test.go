package layout_test

import (
	"testing"

	"github.com/standpipe/standpipe/wal/internal/layout"
)

func TestLeaf_SecondBlockFillsTheLastPage(t *testing.T) {
	const page, beside = 4096, 16 + 2*(16+8)
	for pages := 1; pages <= 4; pages++ {
		for first := 50; first < 100_000; first++ {
			rest := layout.RestOfLeaf(first, layout.LeafBytes(pages))
			if rest < pages*900 || rest > pages*2048+page {
				t.Fatalf("got %d bytes after a block of %d in a leaf of %d pages", rest, first, pages)
			}
			if got := (first + rest + beside) % page; got != 0 {
				t.Fatalf("got %d bytes in the last page after blocks of %d and %d, want a full page", got, first, rest)
			}
		}
	}
}
