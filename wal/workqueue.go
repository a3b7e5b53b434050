package wal

import "sync"

// workQueue runs functions beside the committer, in order, on one goroutine: it makes the next segment, and closes
// sealed ones. The committer may wait for the next segment, so nothing slow may be in the queue. For unlinks see
// truncator.
type workQueue struct {
	mu       sync.Mutex
	queue    []func()
	finished bool

	added *sync.Cond    // of mu
	done  chan struct{} // closed by run
}

func newWorkQueue() *workQueue {
	q := &workQueue{done: make(chan struct{})}
	q.added = sync.NewCond(&q.mu)
	return q
}

// add enqueues f. It must not be called after finish.
func (q *workQueue) add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, f)
	q.added.Signal()
}

// run calls the functions until finish is called and none is left.
func (q *workQueue) run() {
	defer close(q.done)
	for f := q.next(); f != nil; f = q.next() {
		f()
	}
}

// next waits for a function. nil: the queue is finished and empty.
func (q *workQueue) next() (f func()) {
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

// finish returns once all functions have run.
func (q *workQueue) finish() {
	q.mu.Lock()
	q.finished = true
	q.mu.Unlock()
	q.added.Signal()
	<-q.done
}
