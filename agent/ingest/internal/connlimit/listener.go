package connlimit

import (
	"net"
	"time"
)

const (
	// logEvery is the time between two log lines about rejected connections.
	logEvery = time.Minute
	// writeTimeout is how long the response to a rejected connection may take.
	writeTimeout = 10 * time.Second
)

// The responses to rejected connections.
const (
	fullLine     = `{"error":"no connection is free","code":"UNAVAILABLE","retry_after":"1s"}` + "\n"
	stoppingLine = `{"error":"the agent is shutting down: nothing was stored","code":"UNAVAILABLE","retry_after":"1s"}` + "\n"
)

// listener holds a listener to its set's limit.
type listener struct {
	net.Listener
	set      *Set
	logged   time.Time
	rejected int // since logged
}

// Listener returns l with its connections tracked and bounded by the set. They are of type *Conn.
func (s *Set) Listener(l net.Listener) net.Listener {
	patient := &patientListener{Listener: l, logger: s.options.Logger, stop: s.options.Draining, failed: s.evict}
	return &listener{Listener: patient, set: s}
}

// Accept returns the next connection for which the set has room. Connections that arrive while the listener drains are
// rejected at once: net/http would wait five seconds for their first byte.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := l.set.add(raw)
		switch {
		case l.draining():
			l.reject(conn, stoppingLine)
		case l.set.fits(time.Now()):
			return conn, nil
		default:
			l.reject(conn, fullLine)
			l.logRejected()
		}
	}
}

func (l *listener) draining() bool {
	select {
	case <-l.set.options.Draining:
		return true
	default:
		return false
	}
}

func (l *listener) reject(conn *Conn, line string) {
	if respond := l.set.options.Response; respond != nil {
		conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		conn.Write([]byte(respond(line))) // the send buffer is empty, so this does not wait
	}
	conn.Close()
}

func (l *listener) logRejected() {
	l.set.options.Rejected()
	if l.rejected++; time.Since(l.logged) >= logEvery {
		l.set.options.Logger.Warn("connections are turned away: all are in use",
			"address", l.Addr(), "max_connections", l.set.max.Load(), "since_the_last_line", l.rejected)
		l.logged, l.rejected = time.Now(), 0
	}
}
