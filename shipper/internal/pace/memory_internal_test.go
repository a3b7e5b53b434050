package pace

import (
	"testing"
	"time"
)

// An agent may have thousands of destinations that are idle: a lane has a pace from its first record on.
func TestPacer_IdleLanesHaveNoPace(t *testing.T) {
	now := time.Unix(1, 0)
	p := NewPacer(Quota{Bytes: 1 << 20, Records: 1000}, true, NumLanes, now)
	count := func() (n int) {
		for id := range uint8(NumLanes) {
			if p.Lane(id).Limited() {
				t.Errorf("lane %d has a limit", id)
			}
			if p.Lane(id) != nil {
				n++
			}
		}
		return n
	}
	if got := count(); got != 0 {
		t.Errorf("got %d paces of lanes at the start, want 0", got)
	}
	p.Restart(now)
	if _, slowed := p.Limit(now); slowed {
		t.Error("a destination without a pace is slowed")
	}
	p.Learn([]Sample{{Lanes: 1<<3 | 1<<5, Load: Load{Bytes: 10, Records: 1}, Result: Taken}}, now, now)
	if got := count(); got != 2 {
		t.Errorf("got %d paces of lanes after a record of 2, want 2", got)
	}
}
