package access

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Guard authorizes the callers of a listener.
type Guard struct {
	register *Register
	names    map[string]bool // of the accepted identities; nil: all
	own      *tokenFile      // nil: none
	mu       sync.Mutex      // held while own is read
	tokens   atomic.Pointer[map[digest]bool]
}

// NewGuard returns a guard that accepts the identities with these names, or all if names is nil, and callers with a token of
// the file, unless its path is empty.
func NewGuard(r *Register, tokens string, names []string) (*Guard, error) {
	g := &Guard{register: r}
	if names != nil {
		g.names = make(map[string]bool)
		for _, name := range names {
			g.names[name] = true
		}
	}
	g.tokens.Store(&map[digest]bool{})
	if tokens == "" {
		return g, nil
	}
	r.ownTokens.Store(true)
	g.own = newTokenFile(tokens)
	return g, g.readOwn()
}

// Refresh checks the listener's own token file now.
func (g *Guard) Refresh() { g.look(time.Now(), true) }

// Who returns the sender with the shown credentials, or an error for an unknown caller.
func (g *Guard) Who(shown *Shown) (*Sender, error) {
	now := time.Now()
	g.register.look(now, false)
	g.look(now, false)
	roll := g.register.current.Load()
	if shown.fault != "" {
		return nil, errors.New(shown.fault)
	}
	if shown.token != nil {
		return g.byToken(roll, *shown.token)
	}
	for _, s := range roll.senders {
		if g.takes(s) && s.shows(shown) {
			return s, nil
		}
	}
	return nil, errors.New(unknown(shown))
}

func (g *Guard) byToken(roll *roll, token digest) (*Sender, error) {
	if (*g.tokens.Load())[token] {
		return g.register.own, nil
	}
	if s := roll.tokens[token]; s != nil && g.takes(s) {
		return s, nil
	}
	return nil, errors.New("the token is not known here")
}

func (g *Guard) takes(s *Sender) bool { return g.names == nil || g.names[s.name] }

// unknown returns the error text for a caller without a token.
func unknown(shown *Shown) string {
	faults := []string{"no token is shown"}
	if c := shown.Certificate; c != nil {
		faults = append(faults, fmt.Sprintf("the certificate %.100q is not that of an identity that may send here", c.Subject.CommonName))
	}
	if p := shown.Peer; p != nil {
		faults = append(faults, fmt.Sprintf("no identity that may send here has the process's uid %d, gid %d or another of its groups", p.UID, p.GID))
	}
	return strings.Join(faults, ", and ")
}

func (g *Guard) look(now time.Time, must bool) {
	if g.own == nil || !g.own.sources.changed(now, must) {
		return
	}
	if err := g.readOwn(); err != nil {
		g.register.logger.Error("changed tokens can't be used; those before stay in force", "error", err)
	}
}

func (g *Guard) readOwn() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	tokens, err := g.own.use(g.register.logger)
	if err != nil {
		return err
	}
	known := make(map[digest]bool, len(tokens))
	for _, t := range tokens {
		known[t] = true
	}
	g.tokens.Store(&known)
	g.register.edition.Add(1)
	return nil
}

// Pass is the authorization of an open connection or stream. It follows changes of identities and tokens. It may be used
// concurrently.
type Pass struct {
	guard *Guard
	shown Shown
	last  atomic.Pointer[identified]
}

// identified is the holder of a pass, and the edition of the register at which that was found. They change together: else
// of two checks at once the older holder could stay under the newer edition.
type identified struct {
	who     *Sender
	edition uint64
}

// Admit returns a pass for a known caller, and counts an unknown one.
func (g *Guard) Admit(shown Shown) (*Pass, error) {
	p := &Pass{guard: g, shown: shown}
	edition := g.register.edition.Load()
	who, err := g.Who(&p.shown)
	if err != nil {
		g.register.unknown.refuse(1, "", err.Error(), shown.from())
		return nil, err
	}
	p.last.Store(&identified{who, edition})
	return p, nil
}

// Bearer returns the holder at the last check.
func (p *Pass) Bearer() *Sender { return p.last.Load().who }

// Holder checks for changes and returns the present holder, or an error if there is none any more.
func (p *Pass) Holder() (*Sender, error) {
	now := time.Now()
	p.guard.register.look(now, false)
	p.guard.look(now, false)
	edition := p.guard.register.edition.Load()
	if last := p.last.Load(); last.edition == edition {
		return last.who, nil
	}
	who, err := p.guard.Who(&p.shown)
	if err != nil {
		return nil, fmt.Errorf("%w any more", err)
	}
	p.last.Store(&identified{who, edition})
	return who, nil
}
