package client

import (
	"log/slog"
	"time"
)

// outage is the time in which the agent takes no event of a Publisher. It reports where it begins and ends. The goroutine
// that runs the Publisher owns it, and the one that receives, while a stream is open.
type outage struct {
	stream  string
	logger  *slog.Logger
	onState func(error)
	began   time.Time // zero: there is none
}

func newOutage(stream string, o *PublisherOptions) outage {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	return outage{stream: stream, logger: logger, onState: o.OnState}
}

// begin is called after each stream that ended without a response.
func (o *outage) begin(err error) {
	if !o.began.IsZero() {
		return
	}
	o.began = time.Now()
	o.logger.Warn("standpipe: events wait in the buffer, the agent takes none", "stream", o.stream, "error", err)
	if o.onState != nil {
		o.onState(err)
	}
}

// end is called after each response.
func (o *outage) end() {
	if o.began.IsZero() {
		return
	}
	o.logger.Info("standpipe: the agent takes events again", "stream", o.stream, "after", time.Since(o.began).Round(time.Millisecond))
	o.began = time.Time{}
	if o.onState != nil {
		o.onState(nil)
	}
}
