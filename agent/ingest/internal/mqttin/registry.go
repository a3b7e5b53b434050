package mqttin

import (
	"context"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// registry holds the sessions of a listener by client. Two clients with different identities are different ones although they
// have the same identifier.
type registry struct {
	mu    sync.Mutex
	all   map[clientKey]*entry // guarded by mu
	swept time.Time            // guarded by mu
}

type clientKey struct{ identity, id string }

// owner returns the owner of the client's receipts. No name of an identity has a zero byte.
func (k clientKey) owner() string { return k.identity + "\x00" + k.id }

// entry is the session of a client and its connection.
type entry struct {
	session *session
	client  *client   // nil: not connected
	until   time.Time // the end of the session of a client that is not connected
}

const (
	// maxSessions is the number of sessions beyond which those of clients that end are not kept.
	maxSessions = 65536
	// maxExpiry is the longest time in seconds for which a session is kept after its connection, as the log keeps producers.
	maxExpiry = 7 * 24 * 3600
)

// enter enters a client with a new session or its earlier one, after an older connection of the client has ended. resume must
// follow. ok is false if the older connection does not end in time.
func (r *registry) enter(c *client, connect *packets.Packet) (of before, ok bool) {
	c.key = clientKey{id: c.id}
	if who := c.listener.in.SenderOf(c.ctx); who != nil {
		c.key.identity = who.Name()
	}
	ctx, cancel := context.WithTimeout(c.ctx, intake.HandshakeTimeout)
	defer cancel()
	for {
		older, of := r.tryEnter(c, connect)
		if older == nil {
			return of, true
		}
		older.end(packets.ErrSessionTakenOver)
		older.cancel() // deliveries are not awaited
		select {
		case <-older.done:
		case <-ctx.Done():
			return of, false
		}
	}
}

// before is what the registry knows of a client's earlier session.
type before int

const (
	unknown before = iota // its receipts may be in the log
	resumed
	ended
)

// tryEnter enters c, unless another connection of the client is open, which it returns.
func (r *registry) tryEnter(c *client, connect *packets.Packet) (older *client, of before) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[c.key]
	switch {
	case e == nil:
	case e.client != nil:
		return e.client, unknown
	case connect.Connect.Clean || time.Now().After(e.until):
		of = ended
	default:
		of = resumed
	}
	if of != resumed {
		e = &entry{session: new(session)}
	}
	e.client, c.session = c, e.session
	e.session.setExpiry(expiryOf(connect))
	if r.all == nil {
		r.all = make(map[clientKey]*entry)
	}
	r.all[c.key] = e
	return nil, of
}

// resume gives the client's session the publishes that an earlier run of the agent has stored, or discards their receipts if the
// client begins a new session.
func (c *client) resume(of before, clean bool) (present bool, err error) {
	if of == resumed {
		return true, nil
	}
	receipts := c.listener.in.Log.Receipts(c.key.owner())
	switch {
	case len(receipts) == 0:
		return false, nil
	case clean || of == ended:
		return false, c.discardReceipts()
	}
	c.session.restore(receipts)
	return true, nil
}

// discardReceipts discards all receipts of the client, and waits until they are gone from the disk. The error is a packets.Code.
func (c *client) discardReceipts() error {
	t, err := c.listener.in.Log.DiscardReceipts(c.key.owner())
	if err == nil {
		select {
		case <-t.Done():
			_, err = t.Result()
		case <-c.listener.ctx.Done():
			err = c.listener.ctx.Err()
		}
	}
	if err != nil {
		return packets.Code{Code: packets.ErrServerUnavailable.Code, Reason: err.Error()}
	}
	return nil
}

// expiryOf returns the expiry of a client's session. In version 3.1.1 a session ends with its connection or never.
func expiryOf(connect *packets.Packet) uint32 {
	if connect.ProtocolVersion == 5 {
		return min(connect.Properties.SessionExpiryInterval, maxExpiry)
	}
	if connect.Connect.Clean {
		return 0
	}
	return maxExpiry
}

// leave ends the connection of a client, and keeps its session for the time of its expiry. The receipts of a session that is not
// kept for lack of space stay in the log.
func (r *registry) leave(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.all[c.key]
	if e.client = nil; c.session.expiry == 0 || len(r.all) > maxSessions && !r.sweep() {
		delete(r.all, c.key)
		return
	}
	e.until = time.Now().Add(time.Duration(c.session.expiry) * time.Second)
}

// sweepInterval is the shortest time between two sweeps: each one looks at all sessions.
const sweepInterval = 10 * time.Second

// sweep deletes the sessions that have ended, and reports whether there are few enough now. It holds r.mu.
func (r *registry) sweep() bool {
	now := time.Now()
	if now.Before(r.swept.Add(sweepInterval)) {
		return false
	}
	r.swept = now
	for key, e := range r.all {
		if e.client == nil && now.After(e.until) {
			delete(r.all, key)
		}
	}
	return len(r.all) <= maxSessions
}
