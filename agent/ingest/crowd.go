package ingest

import (
	"fmt"
	"net"
	"time"
)

const (
	// silence is how long a connection over the limit may have been silent before it has to make room, and
	// firstSilence that for one on which nothing has come yet.
	silence      = 10 * time.Second
	firstSilence = time.Second
	// sayCrowded is the time between two lines of the log about connections that are turned away.
	sayCrowded = time.Minute
)

// boundedListener holds a listener to its number of connections. One more takes the place of the one that
// has been silent for the longest time: else whoever opens connections and leaves them so could keep all
// others out. Where none has been silent for long it is turned away, and so are those that come once the
// listener drains: net/http would wait five seconds for them to say something.
type boundedListener struct {
	net.Listener
	known  *knownConns
	answer func(line string) string // what is written to one that is turned away; nil where that takes a handshake
	said   time.Time
	unsaid int // turned away since
}

// bounded is l with its connections known and bounded.
func (k *knownConns) bounded(l net.Listener, o *Options, answer func(line string) string) net.Listener {
	if o.TLS != nil {
		answer = nil
	}
	patient := &patientListener{Listener: l, logger: k.in.logger, stop: k.in.draining, failed: k.evictSilent}
	return &boundedListener{Listener: k.listener(patient), known: k, answer: answer}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		switch {
		case closed(l.known.in.draining):
			l.turnAway(conn, stoppingLine)
		case l.known.makeRoom(time.Now()):
			return conn, nil
		default:
			l.turnAway(conn, crowdedLine)
			l.sayCrowded()
		}
	}
}

func (l *boundedListener) turnAway(conn net.Conn, line string) {
	if l.answer != nil {
		conn.SetWriteDeadline(time.Now().Add(writeTime))
		conn.Write([]byte(l.answer(line))) // into an empty buffer: it does not wait
	}
	conn.Close()
}

func (l *boundedListener) sayCrowded() {
	in := l.known.in
	in.observer.TurnedAway(in.listener)
	if l.unsaid++; time.Since(l.said) >= sayCrowded {
		in.logger.Warn("connections are turned away: all are in use", "address", l.Addr(), "max_connections", in.most.Load(), "since_the_last_line", l.unsaid)
		l.said, l.unsaid = time.Now(), 0
	}
}

// What a connection is told that is turned away.
const (
	crowdedLine  = `{"error":"no connection is free","code":"UNAVAILABLE","retry_after":"1s"}` + "\n"
	stoppingLine = `{"error":"the agent is shutting down: nothing was stored","code":"UNAVAILABLE","retry_after":"1s"}` + "\n"
)

func overSocket(line string) string { return line }

func overHTTP(line string) string {
	return fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
}

// makeRoom reports whether there are no more connections than may be, if need be after it has closed the one
// that has been silent for the longest time.
func (k *knownConns) makeRoom(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(len(k.conns)) <= k.in.most.Load() || k.evictLocked(now)
}

// evictSilent closes the connection that has been silent for the longest time: no other one can be accepted.
func (k *knownConns) evictSilent() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.evictLocked(time.Now())
}

func (k *knownConns) evictLocked(now time.Time) bool {
	var longest *knownConn
	over := time.Duration(0) // its patience
	for c := range k.conns {
		if d := now.Sub(time.Unix(0, c.heard.Load())) - c.patience(); d > over && c.owed.Load() == 0 {
			longest, over = c, d
		}
	}
	if longest == nil {
		return false
	}
	k.dropLocked(longest)
	longest.Conn.Close()
	return true
}

func (c *knownConn) patience() time.Duration {
	if c.spoke.Load() {
		return silence
	}
	return firstSilence
}

// dropLocked forgets a connection.
func (k *knownConns) dropLocked(c *knownConn) {
	if _, open := k.conns[c]; open {
		delete(k.conns, c)
		k.in.observer.Connected(k.in.listener, -1)
	}
}
