package boltpage_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// A failed commit counts as harmless only if both meta pages can be read and neither has its transaction or a later
// one.
func TestReached_CountsUnreadMetaPages(t *testing.T) {
	const size = 4096
	file := make([]byte, 2*size)
	for page, tx := range []uint64{7, 8} {
		binary.NativeEndian.PutUint64(file[page*size+16+48:], tx)
	}
	for tx, want := range map[uint64]bool{7: true, 8: true, 9: false} {
		if got := boltpage.Reached(bytes.NewReader(file), size, tx); got != want {
			t.Errorf("transaction %d of a file with 7 and 8: got %t, want %t", tx, got, want)
		}
	}
	if !boltpage.Reached(bytes.NewReader(file[:size]), size, 9) {
		t.Error("a file whose second meta page can't be read counts as one without the transaction")
	}
}
