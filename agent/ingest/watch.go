package ingest

import "context"

// watch follows the requests that were answered when the log had only taken them (ack accepted):
// one that the log refuses afterwards is counted, because nobody else would tell.
type watch struct {
	observer Observer
	tickets  chan watched  // closed by stop
	idle     chan struct{} // closed by run
}

type watched struct {
	ticket Ticket
	stream string
	events int
}

// maxWatched bounds the answered requests that the log has not concluded. More wait with their
// reply.
const maxWatched = 4096

func newWatch(o Observer) *watch {
	return &watch{observer: o, tickets: make(chan watched, maxWatched), idle: make(chan struct{})}
}

// add follows t. It waits while too many are followed, for as long as ctx allows.
func (w *watch) add(ctx context.Context, t *taken) {
	select {
	case w.tickets <- watched{t.ticket, t.stream, t.events}:
	case <-ctx.Done():
	}
}

// run follows one ticket after another: the log concludes them in about that order.
func (w *watch) run() {
	defer close(w.idle)
	for t := range w.tickets {
		<-t.ticket.Done()
		if _, err := t.ticket.Result(); err != nil {
			w.observer.Refused(t.stream, refusalOf(err).reason, t.events)
			w.observer.Lost(t.stream, t.events)
		}
	}
}

// stop waits for what is followed. Nothing may be added any more.
func (w *watch) stop() {
	close(w.tickets)
	<-w.idle
}
