package queue

import "sync"

// Work runs functions in order, on the goroutine of Run.
type Work struct {
	mu       sync.Mutex
	queue    []func()
	finished bool

	added *sync.Cond    // of mu
	done  chan struct{} // closed by Run
}

// NewWork returns a queue without functions.
func NewWork() *Work {
	q := &Work{done: make(chan struct{})}
	q.added = sync.NewCond(&q.mu)
	return q
}

// Add enqueues f. It must not be called after Finish.
func (q *Work) Add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, f)
	q.added.Signal()
}

// Run calls the functions until Finish is called and none is left.
func (q *Work) Run() {
	defer close(q.done)
	for f := q.next(); f != nil; f = q.next() {
		f()
	}
}

// next waits for a function. nil: the queue is finished and empty.
func (q *Work) next() (f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 && !q.finished {
		q.added.Wait()
	}
	if len(q.queue) == 0 {
		return nil
	}
	f, q.queue = q.queue[0], q.queue[1:]
	return f
}

// Finish returns once all functions have run.
func (q *Work) Finish() {
	q.mu.Lock()
	q.finished = true
	q.mu.Unlock()
	q.added.Signal()
	<-q.done
}
