package wear_test

import (
	"math"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/internal/wear"
)

// The estimates are within a fifth of the bytes at the block device of an ext4 volume: docs/gateways.md has the table.
func TestBytesPerDay_IsNearTheMeasurements(t *testing.T) {
	const second = time.Second
	for name, m := range map[string]struct {
		traffic wear.Traffic
		perDay  float64 // GB
	}{
		"20/s at once":          {wear.Traffic{PerSecond: 20, Size: 200, Checkpoint: second / 4}, 8.4},
		"20/s accepted":         {wear.Traffic{PerSecond: 20, Size: 200, Linger: second, Checkpoint: second / 4}, 4.1},
		"20/s commit_linger 1s": {wear.Traffic{PerSecond: 20, Size: 200, Linger: second, Checkpoint: second}, 3.3},
		"20/s gateway":          {wear.Traffic{PerSecond: 20, Size: 200, Linger: second / 4, Checkpoint: 10 * second}, 2.1},
		"1/s at once":           {wear.Traffic{PerSecond: 1, Size: 200, Checkpoint: second / 4}, 0.86},
		"1/s gateway":           {wear.Traffic{PerSecond: 1, Size: 200, Linger: second / 4, Checkpoint: 10 * second}, 0.60},
	} {
		if got := wear.BytesPerDay(m.traffic) / 1e9; math.Abs(got-m.perDay) > m.perDay/5 {
			t.Errorf("%s: got %.2f GB a day, measured are %.2f", name, got, m.perDay)
		}
	}
	if got := wear.BytesPerDay(wear.Traffic{Size: 200, Checkpoint: second}); got != 0 {
		t.Errorf("got %v bytes without events", got)
	}
}
