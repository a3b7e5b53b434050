package access

import (
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Figures are the counts of one identity, since the start of the process or since the identity is in the configuration.
type Figures struct {
	Identity      string            // empty: callers with a token of a listener's own file
	Events, Bytes uint64            // stored events and their payload bytes
	LastStored    time.Time         // zero: never
	Refused       map[string]uint64 // rejected events, by reason
	LastRefusal   Refusal
}

// Unknown is the counts of unknown callers on all listeners together.
type Unknown struct {
	Requests    uint64 // rejected requests, and connections to sockets
	LastRefusal Refusal
}

// Refusal is one rejection. It contains no token and no payload.
type Refusal struct {
	At   time.Time // zero: none
	Why  string    // at most maxWhy bytes
	From string    // an address, or a process on this host; empty: unknown or not useful
}

// maxWhy is the limit for Refusal.Why: some error texts list all allowed values.
const maxWhy = 400

// tally is the counters of one sender.
type tally struct {
	events, bytes atomic.Uint64
	stored        atomic.Int64 // the time of the last append, in nanoseconds; 0: never

	mu      sync.Mutex
	refused map[string]uint64 // guarded by mu, as is last
	last    Refusal
}

func (t *tally) count(events, bytes int) {
	t.events.Add(uint64(events))
	t.bytes.Add(uint64(bytes))
	t.stored.Store(time.Now().UnixNano())
}

func (t *tally) refuse(n int, reason, why, from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused == nil {
		t.refused = make(map[string]uint64)
	}
	t.refused[reason] += uint64(n)
	t.last = Refusal{At: time.Now(), Why: strings.ToValidUTF8(why[:min(len(why), maxWhy)], ""), From: from}
}

func (t *tally) figures(name string) Figures {
	f := Figures{Identity: name, Events: t.events.Load(), Bytes: t.bytes.Load()}
	if at := t.stored.Load(); at != 0 {
		f.LastStored = time.Unix(0, at)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.Refused, f.LastRefusal = maps.Clone(t.refused), t.last
	return f
}

// Stored counts stored events and their payload bytes.
func (s *Sender) Stored(events, bytes int) { s.tally.count(events, bytes) }

// Refused counts rejected events. reason is one of a few words; why is a text for operators.
func (s *Sender) Refused(events int, reason, why string) { s.tally.refuse(events, reason, why, "") }

// Figures returns the figures of every identity in the order of the configuration. The first ones are those of the listeners'
// own tokens, if a listener has any.
func (r *Register) Figures() (known []Figures, unknown Unknown) {
	if r.ownTokens.Load() {
		known = append(known, r.own.tally.figures(""))
	}
	for _, s := range r.current.Load().senders {
		known = append(known, s.tally.figures(s.name))
	}
	f := r.unknown.figures("")
	return known, Unknown{Requests: f.Refused[""], LastRefusal: f.LastRefusal}
}

// from returns the origin of a caller, for operators.
func (s *Shown) from() string {
	if s.Peer != nil {
		return s.Peer.String()
	}
	if tcp, ok := s.Addr.(*net.TCPAddr); ok {
		return tcp.String()
	}
	return ""
}
