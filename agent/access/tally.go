package access

import (
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Figures is what has become of what somebody sent, since the start of the process or since the identity is in
// the configuration.
type Figures struct {
	Identity      string            // empty: who shows a token of a listener's own file
	Events, Bytes uint64            // that were stored, and their payload
	LastStored    time.Time         // zero: never
	Refused       map[string]uint64 // events, by the reason that is counted
	LastRefusal   Refusal
}

// Unknown is what was refused because nobody knows who sent it, on all listeners together.
type Unknown struct {
	Requests    uint64 // and connections to sockets
	LastRefusal Refusal
}

// Refusal is one that was made. It holds no token and no payload.
type Refusal struct {
	At   time.Time // zero: there was none
	Why  string    // of at most maxWhy bytes
	From string    // an address, or a process on this host; empty: not known, or it says nothing
}

// maxWhy is how much is kept of a refusal's text: some list all that would have been allowed.
const maxWhy = 400

// tally counts for one sender.
type tally struct {
	events, bytes atomic.Uint64
	stored        atomic.Int64 // the time of the last, in nanoseconds; 0: never

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

// Stored counts events that were stored, which have so many bytes of payload together.
func (s *Sender) Stored(events, bytes int) { s.tally.count(events, bytes) }

// Refused counts events that were refused. The reason is one of a few words; why is for people.
func (s *Sender) Refused(events int, reason, why string) { s.tally.refuse(events, reason, why, "") }

// Figures returns those of every identity in the order of the configuration, and before them those of the tokens
// that listeners have of their own, if one has.
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

// from says where somebody is, for people.
func (s *Shown) from() string {
	if s.Peer != nil {
		return s.Peer.String()
	}
	if tcp, ok := s.Addr.(*net.TCPAddr); ok {
		return tcp.String()
	}
	return ""
}
