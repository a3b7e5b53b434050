package ingest

import (
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The pause after an accept that failed, for example for want of file descriptors, and the time between two log lines.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
	sayFailing = time.Minute
)

// patientListener accepts again, after a pause that grows, when an accept fails. Only a closed listener's error is returned:
// net/http and grpc give up at some errors, and log every attempt.
type patientListener struct {
	net.Listener
	logger hclog.Logger
	stop   <-chan struct{} // ends the pauses; nil: closing the listener does
	failed func()          // called after each failure; may be nil

	failures      int // since an accept succeeded
	began, saidAt time.Time
}

// Patient returns a listener for l whose accepts do not fail until it is closed. It logs a run of failures at the
// beginning, then once a minute, and at the end.
func Patient(l net.Listener, logger hclog.Logger) net.Listener {
	return &patientListener{Listener: l, logger: logger}
}

func (l *patientListener) Accept() (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			l.recovered()
			return conn, nil
		case errors.Is(err, net.ErrClosed):
			return nil, err
		}
		l.say(err)
		if l.failed != nil {
			l.failed()
		}
		select {
		case <-time.After(pause):
		case <-l.stop:
			return nil, err
		}
	}
}

func (l *patientListener) say(err error) {
	now := time.Now()
	if l.failures++; l.failures == 1 {
		l.began, l.saidAt = now, time.Time{}
	}
	if now.Sub(l.saidAt) >= sayFailing {
		l.logger.Warn("connections cannot be accepted", "address", l.Addr(), "failures", l.failures, "since", l.began.Format(time.RFC3339), "error", err)
		l.saidAt = now
	}
}

func (l *patientListener) recovered() {
	if l.failures > 0 {
		l.logger.Info("connections are accepted again", "address", l.Addr(), "failures", l.failures, "after", time.Since(l.began))
		l.failures = 0
	}
}
