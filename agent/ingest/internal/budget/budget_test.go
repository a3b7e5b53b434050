package budget_test

import (
	"sync"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
)

func TestBudget_ResizeGivesBackWhatIsNotNeeded(t *testing.T) {
	r := budget.New(100)
	has := int64(0)
	for _, step := range []struct {
		need      int64
		ok        bool
		has, left int64
	}{
		{60, true, 60, 40}, {10, true, 10, 90}, {101, false, 10, 90}, {100, true, 100, 0}, {100, true, 100, 0}, {0, true, 0, 100}, {0, true, 0, 100},
	} {
		if ok := r.Resize(&has, step.need); ok != step.ok || has != step.has || r.Left() != step.left {
			t.Errorf("resize to %d: got %v, has %d, left %d, want %+v", step.need, ok, has, r.Left(), step)
		}
	}
}

func TestBudget_AcquiresAllOrNothing(t *testing.T) {
	b := budget.New(10)
	for _, step := range []struct {
		n    int64
		ok   bool
		left int64
	}{{0, true, 10}, {11, false, 10}, {10, true, 0}, {1, false, 0}, {0, true, 0}} {
		if ok := b.Acquire(step.n); ok != step.ok || b.Left() != step.left {
			t.Errorf("acquire %d: got %v with %d left, want %v with %d", step.n, ok, b.Left(), step.ok, step.left)
		}
	}
	if b.Release(10); b.Left() != 10 {
		t.Errorf("%d are left, want all 10", b.Left())
	}
}

func TestBudget_SharedByManyIsNeverExceeded(t *testing.T) {
	const units, each = 100, 30
	b := budget.New(units)
	var mu sync.Mutex
	held := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if !b.Acquire(each) {
					continue
				}
				mu.Lock()
				if held += each; held > units {
					t.Errorf("%d of %d units are held", held, units)
				}
				mu.Unlock()
				mu.Lock()
				held -= each
				mu.Unlock()
				b.Release(each)
			}
		})
	}
	all.Wait()
	if b.Left() != units {
		t.Errorf("%d are left, want all %d", b.Left(), units)
	}
}
