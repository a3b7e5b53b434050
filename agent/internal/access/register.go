package access

import (
	"errors"
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
	// edition is the number of changes of identities and tokens.
	edition atomic.Uint64
	unknown tally // of unknown callers

	own       *Sender     // for callers with a token of a listener's own file
	ownTokens atomic.Bool // a listener has its own tokens

	mu sync.Mutex // held while current is changed
}

// roll is the identities at one time.
type roll struct {
	senders []*Sender // in the order of the configuration
	tokens  map[digest]*Sender
}

// NewRegister returns a register without identities.
func NewRegister(logger hclog.Logger) *Register {
	r := &Register{logger: logger, own: &Sender{tally: new(tally)}}
	r.current.Store(&roll{})
	return r
}

// Set replaces the identities. It changes nothing if a token file is unusable, and returns the error.
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
	next, err := r.rollLocked(senders)
	if err != nil {
		return err
	}
	r.useLocked(next)
	return nil
}

// Refresh checks the token files now.
func (r *Register) Refresh() { r.look(time.Now(), true) }

// look reads the token files again if one has changed. Only the identity of an unusable file keeps its previous tokens.
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
	next, err := r.rollLocked(r.current.Load().senders)
	if err != nil {
		r.logger.Error("changed tokens can't be used; those before stay in force", "error", err)
	}
	r.useLocked(next)
}

func (r *Register) useLocked(next *roll) {
	r.current.Store(next)
	r.edition.Add(1)
}

// rollLocked reads the token files of senders. The roll is valid also with an error: an unusable file counts with its previous
// tokens. A token of two identities stays with its previous identity.
func (r *Register) rollLocked(senders []*Sender) (*roll, error) {
	next := &roll{senders: senders, tokens: make(map[digest]*Sender)}
	before := r.current.Load().tokens
	var faults []error
	for _, s := range senders {
		if s.tokens == nil {
			continue
		}
		tokens, err := s.tokens.use(r.logger)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.title(), err))
		}
		for _, t := range tokens {
			other := next.tokens[t]
			if other == nil || other == s {
				next.tokens[t] = s
				continue
			}
			faults = append(faults, fmt.Errorf("%s: a token in %s is one of identity %q too", s.title(), s.tokens.path, other.name))
			if had := before[t]; had != nil && had.name == s.name {
				next.tokens[t] = s
			}
		}
	}
	return next, errors.Join(faults...)
}

// warnOpen logs a warning about a readable secret. It is not an error: containers with a single user often mount secrets
// like this.
func warnOpen(logger hclog.Logger, what, path string) {
	logger.Warn("everybody on this host can read a "+what+" file; chmod o-rwx closes it", "file", path)
}
