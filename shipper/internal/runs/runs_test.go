package runs_test

import (
	"slices"
	"testing"

	"github.com/standpipe/standpipe/shipper/internal/runs"
	"github.com/standpipe/standpipe/wal"
)

func TestSettled_HasTheDoneBeyondTheFirstThatIsNot(t *testing.T) {
	events := []wal.Event{{Offset: 3}, {Offset: 5}, {Offset: 6}, {Offset: 9}, {Offset: 10}, {Offset: 12}}
	for _, c := range []struct {
		done string
		want []wal.Run
	}{
		{"xxxxxx", nil},
		{"......", nil},
		{"xx....", nil},
		{".x....", []wal.Run{{First: 5, Next: 6}}},
		{"..xx.x", []wal.Run{{First: 6, Next: 10}, {First: 12, Next: 13}}},
		{"x.xxxx", []wal.Run{{First: 6, Next: 13}}},
	} {
		done := make([]bool, len(events))
		for i := range done {
			done[i] = c.done[i] == 'x'
		}
		if got := runs.Settled(events, done); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.done, got, c.want)
		}
	}
}

func TestBeyond_KeepsTheRunThatHasTheOffset(t *testing.T) {
	all := []wal.Run{{First: 3, Next: 6}, {First: 8, Next: 9}}
	for offset, want := range map[uint64]int{0: 2, 5: 2, 6: 1, 8: 1, 9: 0} {
		if got := runs.Beyond(all, offset); len(got) != want {
			t.Errorf("offset %d: got %v, want %d runs", offset, got, want)
		}
	}
}
