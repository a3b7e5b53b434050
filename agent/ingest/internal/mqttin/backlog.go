package mqttin

import "sync"

// backlog holds the publishes of one client that await their acknowledgement, in order. The goroutine that responds to them runs
// while there are some: an idle client has the goroutine that reads, and no other.
type backlog struct {
	mu      sync.Mutex
	changed sync.Cond  // on mu; each change wakes all
	waiting []*unacked // guarded by mu
	running bool       // the responding goroutine; guarded by mu
}

// add adds a publish, once fewer than depth wait. start is true if the caller must start the responding goroutine.
func (b *backlog) add(u *unacked) (start bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) >= depth {
		b.changed.Wait()
	}
	b.waiting = append(b.waiting, u)
	start, b.running = !b.running, true
	return start
}

// take removes the first publish. It returns nil if there is none: then the responding goroutine has ended.
func (b *backlog) take() *unacked {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.changed.Broadcast()
	if len(b.waiting) == 0 {
		b.waiting, b.running = nil, false
		return nil
	}
	u := b.waiting[0]
	b.waiting[0] = nil
	b.waiting = b.waiting[1:]
	return u
}

func (b *backlog) isEmpty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) == 0
}

// awaitEnd waits until all publishes are taken and the responding goroutine has ended.
func (b *backlog) awaitEnd() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.running {
		b.changed.Wait()
	}
}
