package wal

import "sync"

// chores is what is done with segments beside the committer, so that no append waits for it: the next one is made
// ready, one that was sealed is closed. One goroutine does them, in order. The committer may wait for the next segment,
// so nothing that takes long may stand in the queue: see truncator.
type chores struct {
	mu       sync.Mutex
	queue    []func()
	finished bool

	news *sync.Cond    // of mu
	done chan struct{} // closed by run
}

func newChores() *chores {
	c := &chores{done: make(chan struct{})}
	c.news = sync.NewCond(&c.mu)
	return c
}

// add has f done after all that was added before. Nobody adds anything after finish.
func (c *chores) add(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, f)
	c.news.Signal()
}

// run does chores until finish is called and none is left.
func (c *chores) run() {
	defer close(c.done)
	for f := c.next(); f != nil; f = c.next() {
		f()
	}
}

// next waits for a chore; nil: there will be none.
func (c *chores) next() (f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.finished {
		c.news.Wait()
	}
	if len(c.queue) == 0 {
		return nil
	}
	f, c.queue = c.queue[0], c.queue[1:]
	return f
}

// finish returns once all that was added is done.
func (c *chores) finish() {
	c.mu.Lock()
	c.finished = true
	c.mu.Unlock()
	c.news.Signal()
	<-c.done
}
