package access

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Register has the identities of an agent, for all of its listeners.
type Register struct {
	logger  hclog.Logger
	current atomic.Pointer[roll]
	// edition counts the changes of identities and tokens.
	edition atomic.Uint64
	unknown tally // of who is not known

	own       *Sender     // who shows a token of a listener's own file
	ownTokens atomic.Bool // a listener has some

	mu sync.Mutex // held by who changes current
}

// roll is the identities at one time.
type roll struct {
	senders []*Sender // in the order of the configuration
	tokens  map[digest]*Sender
}

// NewRegister has nobody in it.
func NewRegister(logger hclog.Logger) *Register {
	r := &Register{logger: logger, own: &Sender{tally: new(tally)}}
	r.current.Store(&roll{})
	return r
}

// Set makes the identities those. An error means that nothing was changed: a token file can't be read.
func (r *Register) Set(identities []Identity) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := make(map[string]*Sender)
	for _, s := range r.current.Load().senders {
		before[s.name] = s
	}
	var senders []*Sender
	for _, i := range identities {
		senders = append(senders, newSender(i, before[i.Name]))
	}
	return r.useLocked(senders)
}

// Refresh looks at the token files now.
func (r *Register) Refresh() { r.look(time.Now(), true) }

// look reads the token files again if one has changed.
func (r *Register) look(now time.Time, must bool) {
	senders := r.current.Load().senders
	changed := false
	for _, s := range senders {
		if s.tokens != nil && s.tokens.sources.changed(now, must) {
			changed = true
		}
	}
	if !changed {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.useLocked(r.current.Load().senders); err != nil {
		r.logger.Error("changed tokens can't be used; those before stay in force", "error", err)
	}
}

func (r *Register) useLocked(senders []*Sender) error {
	next := &roll{senders: senders, tokens: make(map[digest]*Sender)}
	for _, s := range senders {
		if s.tokens == nil {
			continue
		}
		tokens, open, err := s.tokens.read()
		if err != nil {
			return fmt.Errorf("%s: %w", s.title(), err)
		}
		if open {
			sayOpen(r.logger, "token", s.tokens.path)
		}
		for _, t := range tokens {
			if other := next.tokens[t]; other != nil && other != s {
				return fmt.Errorf("%s: a token in %s is one of identity %q too", s.title(), s.tokens.path, other.name)
			}
			next.tokens[t] = s
		}
	}
	r.current.Store(next)
	r.edition.Add(1)
	return nil
}

// sayOpen warns. It refuses nothing: secrets are often mounted so into a container where nobody else is.
func sayOpen(logger hclog.Logger, what, path string) {
	logger.Warn("everybody on this host can read a "+what+" file; chmod o-rwx closes it", "file", path)
}
