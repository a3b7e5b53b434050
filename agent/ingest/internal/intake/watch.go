package intake

import "context"

// watch follows the requests that were answered when the log had only taken them (ack accepted):
// one that the log refuses afterwards is counted, because nobody else would tell.
type watch struct {
	in      *Intake
	tickets chan Submission // closed by stop
	idle    chan struct{}   // closed by run
}

// maxWatched bounds the answered requests that the log has not concluded. More wait with their
// reply.
const maxWatched = 4096

func newWatch(in *Intake) *watch {
	return &watch{in: in, tickets: make(chan Submission, maxWatched), idle: make(chan struct{})}
}

// add follows t. It waits while too many are followed, for as long as ctx allows.
func (w *watch) add(ctx context.Context, t *Submission) {
	select {
	case w.tickets <- *t:
	case <-ctx.Done():
	}
}

// run follows one ticket after another: the log concludes them in about that order.
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

// stop waits for what is followed. Nothing may be added any more.
func (w *watch) stop() {
	close(w.tickets)
	<-w.idle
}
