package catchup_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/standpipe/standpipe/shipper/internal/catchup"
	"github.com/standpipe/standpipe/wal"
)

// blocks is a log of single events. The block that a read returns is overwritten by the next read.
type blocks struct {
	keys  []string // of the events
	block []byte
}

func (b *blocks) Read(_ string, from uint64, _ wal.LaneSet, _ int) (wal.Chunk, error) {
	clear(b.block)
	key := b.keys[from-1]
	b.block = []byte(key + key + key + fmt.Sprint(from))
	at := func(i int) string { return unsafe.String(&b.block[i*len(key)], len(key)) }
	e := wal.Event{Offset: from, Lane: wal.LaneOf(key), Key: at(0), Data: b.block[3*len(key):], Attributes: map[string]string{at(1): at(2)}}
	return wal.Chunk{Events: []wal.Event{e}, Next: from + 1, End: int(from) == len(b.keys)}, nil
}

// The found events do not keep the blocks that were read in memory.
func TestSearch_CopiesTheFoundEvents(t *testing.T) {
	log := &blocks{keys: []string{"a", "b", "a", "c", "b", "d"}}
	s := catchup.Search{Source: log, Stream: "s", Until: 7, Memory: 1 << 20, Stopped: new(atomic.Bool)}
	for i := range s.Settled {
		s.Settled[i].Checkpoint = 1
	}
	got := s.Run()
	clear(log.block)
	want := []uint64{3, 4, 5, 6}
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i, e := range got {
		key := log.keys[want[i]-1]
		if e.Offset != want[i] || e.Key != key || string(e.Data) != fmt.Sprint(want[i]) || e.Attributes[key] != key {
			t.Errorf("got %+v, want event %d of the key %q", e, want[i], key)
		}
	}
}
