package access

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Guard decides whom a listener takes events from.
type Guard struct {
	register *Register
	names    map[string]bool // of the identities that are taken; nil: all
	own      *tokenFile      // nil: none
	mu       sync.Mutex      // held by who reads own
	tokens   atomic.Pointer[map[digest]bool]
}

// NewGuard takes the register's identities of those names, or all when names is nil, and who shows a token
// of the file, unless that is empty.
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

// Refresh looks at the listener's own token file now.
func (g *Guard) Refresh() { g.look(time.Now(), true) }

// Who returns who the producer is, or why that is not known.
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

// unknown says what was shown beside a token.
func unknown(shown *Shown) string {
	said := []string{"no token is shown"}
	if c := shown.Certificate; c != nil {
		said = append(said, fmt.Sprintf("the certificate %.100q is not that of an identity that may send here", c.Subject.CommonName))
	}
	if p := shown.Peer; p != nil {
		said = append(said, fmt.Sprintf("no identity that may send here has the process's uid %d, gid %d or another of its groups", p.UID, p.GID))
	}
	return strings.Join(said, ", and ")
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

// Pass is that of a connection or stream which stays open: it knows who its holder is also after
// identities or tokens have changed. It may be used by several goroutines.
type Pass struct {
	guard   *Guard
	shown   Shown
	edition atomic.Uint64 // that who is of
	who     atomic.Pointer[Sender]
}

// Admit returns a pass for a producer that is known, and counts one that is not.
func (g *Guard) Admit(shown Shown) (*Pass, error) {
	p := &Pass{guard: g, shown: shown}
	edition := g.register.edition.Load()
	who, err := g.Who(&p.shown)
	if err != nil {
		g.register.unknown.refuse(1, "", err.Error(), shown.from())
		return nil, err
	}
	p.who.Store(who)
	p.edition.Store(edition)
	return p, nil
}

// Bearer returns who held the pass when that was last looked at.
func (p *Pass) Bearer() *Sender { return p.who.Load() }

// Holder returns who holds the pass, or why that is not known any more.
func (p *Pass) Holder() (*Sender, error) {
	now := time.Now()
	p.guard.register.look(now, false)
	p.guard.look(now, false)
	edition := p.guard.register.edition.Load()
	if p.edition.Load() == edition {
		return p.who.Load(), nil
	}
	who, err := p.guard.Who(&p.shown)
	if err != nil {
		return nil, fmt.Errorf("%w any more", err)
	}
	p.who.Store(who)
	p.edition.Store(edition)
	return who, nil
}
