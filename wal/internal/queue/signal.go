package queue

import "sync"

// Signal wakes the goroutines that wait at the moment of Wake.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // closed by Wake; nil while no goroutine waits
}

// Wait returns a channel that the next Wake closes. Callers must read the state after Wait, not before.
func (s *Signal) Wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Wake closes the channel of all present Waits.
func (s *Signal) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Poke wakes the receiver of a channel of capacity 1.
func Poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
