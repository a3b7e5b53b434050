package intake

import "context"

// watch awaits the tickets of requests that got their response before the commit (ack level accepted). It counts a
// rejection by the WAL, which the producer does not see.
type watch struct {
	in      *Intake
	tickets chan Submission // closed by stop
	idle    chan struct{}   // closed by run
}

// maxWatched bounds the watched tickets. Further responses wait.
const maxWatched = 4096

func newWatch(in *Intake) *watch {
	return &watch{in: in, tickets: make(chan Submission, maxWatched), idle: make(chan struct{})}
}

// add watches t. At maxWatched it waits until ctx ends.
func (w *watch) add(ctx context.Context, t *Submission) {
	select {
	case w.tickets <- *t: // also of a caller that has gone
		return
	default:
	}
	select {
	case w.tickets <- *t:
	case <-ctx.Done():
	}
}

// run awaits one ticket after another: the WAL concludes them in about that order.
func (w *watch) run() {
	defer close(w.idle)
	for t := range w.tickets {
		<-t.Ticket.Done()
		a, err := t.Ticket.Result()
		if err != nil {
			w.in.CountRejected(t.Sender, t.Stream, t.Events, RejectionOf(err))
			w.in.Observer.Lost(t.Stream, t.Events)
			continue
		}
		t.stored(a)
	}
}

// stop awaits all watched tickets. add must not be called any more.
func (w *watch) stop() {
	close(w.tickets)
	<-w.idle
}
