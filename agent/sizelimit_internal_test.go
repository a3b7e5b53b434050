package agent

import (
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// An event has to fit every destination of its stream, in any order.
func TestSizeLimit_IsTheSmallestOfAllDestinations(t *testing.T) {
	of := func(title string, most int) sizeLimit {
		return sizeLimit{title, func() shipper.Shape { return shipper.Shape{MaxRecord: most, MaxBatch: most, RecordEvents: 1} }}
	}
	small, large := of("small", 1000), of("large", 5000)
	e := &wal.Event{Key: "k", Data: []byte("x")}
	for _, limits := range [][]sizeLimit{{small, large}, {large, small}, {large, small, large}} {
		if _, got := smallest(limits, e); got != "small" {
			t.Errorf("got %q as the destination that takes the least of %d, want small", got, len(limits))
		}
	}
}
