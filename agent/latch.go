package agent

import "sync"

// latch is an event that happens at most once. Waiters select on c.
type latch struct {
	once sync.Once
	c    chan struct{} // closed by set
}

func newLatch() *latch { return &latch{c: make(chan struct{})} }

func (l *latch) set() { l.once.Do(func() { close(l.c) }) }

func (l *latch) isSet() bool {
	select {
	case <-l.c:
		return true
	default:
		return false
	}
}
