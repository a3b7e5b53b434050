package agent

import (
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

func TestHopeless_IsOneThatFailsForLong(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	long, short := now.Add(-failingLong), now.Add(-failingLong+1)
	for want, reports := range map[bool][]shipper.Report{
		true: {{State: shipper.Blocked, Since: now}, {State: shipper.Waiting, Since: long}, {State: shipper.Waiting, Since: long, Waits: shipper.WaitPaced}},
		false: {
			{State: shipper.Running}, {State: shipper.Waiting}, {State: shipper.Waiting, Since: short},
			{State: shipper.Waiting, Since: long, Waits: shipper.WaitThrottled},
		},
	} {
		for _, r := range reports {
			if got := hopeless(r, now); got != want {
				t.Errorf("%+v: got %v, want %v", r, got, want)
			}
		}
	}
}
