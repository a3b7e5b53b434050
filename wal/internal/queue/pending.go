package queue

import "sync"

// Pending holds values in the order of their Push.
type Pending[T any] struct {
	mu     sync.Mutex
	values []T
	popped uint64 // values so far
}

// Push adds a value.
func (q *Pending[T]) Push(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.values = append(q.values, v)
}

// Pop removes the first value. The queue is not empty.
func (q *Pending[T]) Pop() (v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v, q.values = q.values[0], q.values[1:]
	q.popped++
	return v
}

// Empty reports whether the queue has no value.
func (q *Pending[T]) Empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.values) == 0
}

// End returns the number of values that will have been popped once the queue has none of the present ones.
func (q *Pending[T]) End() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popped + uint64(len(q.values))
}

// Done reports whether at least that many values have been popped so far.
func (q *Pending[T]) Done(popped uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popped >= popped
}
