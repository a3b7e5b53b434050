package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// failedGrace is how long /readyz reports a failed WAL before the agent ends.
	failedGrace = time.Second
	// syncTimeout limits the wait for a checkpoint.
	syncTimeout = 10 * time.Second
	// closeTimeout limits the wait for sinks that finish their open files.
	closeTimeout = 10 * time.Second
)

// delayStop accepts events for drain_delay, after /readyz has become 503: in a pod, the signal to stop arrives before the last
// events of the other containers. The delay ends early with Abort, when the WAL fails, or when serve ends.
func (a *Agent) delayStop(serve context.Context) {
	a.draining.set()
	delay := a.conf.Load().DrainDelay
	if delay <= 0 {
		return
	}
	a.logger.Info("draining: events are accepted until the stop", "for", delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.abort.c:
	case <-a.log.FailedChan():
	case <-serve.Done():
	}
}

// stop ends the agent in the order of the package comment. After a failure of the WAL it does not drain: no checkpoint
// could be stored for further deliveries.
func (a *Agent) stop(failed bool) {
	a.stopping.set() // before the lock: a reload that holds it ends its wait
	a.log.Hurry()
	a.mu.Lock()
	defer a.mu.Unlock()
	timeout := a.conf.Load().ShutdownTimeout
	if failed {
		timeout = failedGrace
	}
	a.logger.Info("stopping", "within", timeout, "pending_events", a.streams.pending())
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	logFailed := a.log.FailedChan()
	if failed {
		logFailed = nil // already included in timeout
	}
	go func() {
		select {
		case <-a.abort.c:
		case <-logFailed:
		case <-ctx.Done():
		}
		cancel()
	}()
	if failed {
		a.streams.cancelRequests()
	}
	a.listeners.stop(ctx)
	if failed {
		<-ctx.Done()
	}
	a.replays.Stop()
	a.streams.drain(ctx)
	if err := a.streams.checkpoint(); err != nil {
		// The sinks stay open: closing them would finish files that may hold events beyond the stored checkpoint.
		a.logger.Warn("last checkpoint not stored; later deliveries may be repeated", "error", err)
	} else {
		a.streams.close()
	}
	a.streams.stopped.set()
	a.logger.Info("stopped", "remaining_events", a.streams.pending())
}

// drain ships events until all are delivered or ctx ends. It then cancels the open requests.
func (s *streams) drain(ctx context.Context) {
	s.changing.Lock()
	s.closed = true
	s.changing.Unlock()
	s.reserving.Wait() // ends soon: it depends only on the WAL

	s.changing.Lock()
	routes := slices.AppendSeq(s.all(), maps.Keys(s.leaving))
	s.changing.Unlock()
	var group sync.WaitGroup
	for _, r := range routes {
		r.finish()
		group.Go(func() { r.wait(ctx) })
	}
	group.Wait()
}

// cancelRequests cancels the open requests and starts no more.
func (s *streams) cancelRequests() {
	for _, r := range s.all() {
		r.cancelRequests()
	}
}

// checkpoint makes the last settlements durable.
func (s *streams) checkpoint() error {
	ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
	defer cancel()
	return s.log.Sync(ctx)
}

// close closes all sinks, which finish their open files. The WAL has stored the last checkpoint before.
func (s *streams) close() {
	s.changing.Lock()
	routes := slices.AppendSeq(s.all(), maps.Keys(s.leaving))
	s.changing.Unlock()
	var group sync.WaitGroup
	for _, r := range routes {
		group.Go(r.close)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		group.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
		s.logger.Error("destinations hang; not waiting any longer", "after", closeTimeout)
	}
}

// Abort makes the current or the next stop skip its waits.
func (a *Agent) Abort() { a.abort.set() }

// Close releases the WAL and the listeners. It may be called several times.
func (a *Agent) Close() error {
	a.closeOnce.Do(func() {
		a.stopping.set()
		if a.listeners != nil {
			a.mu.Lock() // a snapshot of the monitor that hangs reads them
			a.listeners.stop(context.Background())
			a.mu.Unlock()
		}
		var errs []error
		if a.adminListener != nil {
			a.adminListener.Close() // a second time after Run, without effect
		}
		if a.log != nil {
			errs = append(errs, a.log.Close(), a.dead.Close())
		}
		a.closeErr = errors.Join(errs...)
	})
	return a.closeErr
}
