package connlimit

import (
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// firstPause and maxPause bound the pause after a failed accept.
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
	// logFailingEvery is the time between two log lines about failed accepts.
	logFailingEvery = time.Minute
)

// patientListener retries failed accepts. net/http and grpc give up at some errors, and log every attempt.
type patientListener struct {
	net.Listener
	logger hclog.Logger
	stop   <-chan struct{} // ends the pauses; nil: closing the listener does
	failed func()          // called after each failure; may be nil

	failures        int // since the last successful accept
	since, loggedAt time.Time
}

// Patient returns a listener for l whose accepts do not fail until it is closed. It logs a run of failures when it
// begins, then once a minute, and when it ends.
func Patient(l net.Listener, logger hclog.Logger) net.Listener {
	return &patientListener{Listener: l, logger: logger}
}

func (l *patientListener) Accept() (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			l.logRecovered()
			return conn, nil
		case errors.Is(err, net.ErrClosed):
			return nil, err
		}
		l.logFailed(err)
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

func (l *patientListener) logFailed(err error) {
	now := time.Now()
	if l.failures++; l.failures == 1 {
		l.since, l.loggedAt = now, time.Time{}
	}
	if now.Sub(l.loggedAt) >= logFailingEvery {
		l.logger.Warn("connections cannot be accepted", "address", l.Addr(), "failures", l.failures, "since", l.since.Format(time.RFC3339), "error", err)
		l.loggedAt = now
	}
}

func (l *patientListener) logRecovered() {
	if l.failures > 0 {
		l.logger.Info("connections are accepted again", "address", l.Addr(), "failures", l.failures, "after", time.Since(l.since))
		l.failures = 0
	}
}
