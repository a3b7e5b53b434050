package h2guard

import "testing"

func TestBudget_ResizeGivesBackWhatIsNotNeeded(t *testing.T) {
	var r budget
	r.acquire(-100)
	has := int64(0)
	for _, step := range []struct {
		need      int64
		ok        bool
		has, left int64
	}{
		{60, true, 60, 40}, {10, true, 10, 90}, {101, false, 10, 90}, {100, true, 100, 0}, {100, true, 100, 0}, {0, true, 0, 100}, {0, true, 0, 100},
	} {
		if ok := resize(r.acquire, &has, step.need); ok != step.ok || has != step.has || r.left.Load() != step.left {
			t.Errorf("resize to %d: got %v, has %d, left %d, want %+v", step.need, ok, has, r.left.Load(), step)
		}
	}
}
