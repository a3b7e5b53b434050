package access

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Identity describes a producer, or a kind of them: by what it is known, and what it may.
type Identity struct {
	Name  string
	Where string // it is written, for errors; may be empty

	TokenFile    string   // of its tokens, one a line; default: none
	Certificates []string // names of certificates; * is any run of characters
	UIDs, GIDs   []int64  // of processes on this host

	Streams             []string // that it may write to; * is any run of characters; nil: all
	MaxEvents, MaxBytes int64    // of payload, a second; 0: no limit
}

// Sender is a producer that is known.
type Sender struct {
	name   string
	knows  Identity
	tokens *tokenFile // nil: none
	budget *budget    // nil: no limit
	tally  *tally
}

// newSender is for the identity i, whose figures go on from those of the sender before, unless that is nil, and
// so do its budget, unless its limits are others, and its tokens, unless its file is another.
func newSender(i Identity, before *Sender) *Sender {
	s := &Sender{name: i.Name, knows: i, tally: new(tally)}
	if before != nil {
		s.tally = before.tally
	}
	switch {
	case i.TokenFile == "":
	case before != nil && before.knows.TokenFile == i.TokenFile:
		s.tokens = before.tokens
	default:
		s.tokens = newTokenFile(i.TokenFile)
	}
	switch {
	case i.MaxEvents == 0 && i.MaxBytes == 0:
	case before != nil && before.knows.MaxEvents == i.MaxEvents && before.knows.MaxBytes == i.MaxBytes:
		s.budget = before.budget
	default:
		s.budget = newBudget(i.MaxEvents, i.MaxBytes)
	}
	return s
}

// title names the sender's identity in errors.
func (s *Sender) title() string {
	title := fmt.Sprintf("identity %q", s.name)
	if s.knows.Where != "" {
		title = s.knows.Where + ": " + title
	}
	return title
}

// Name is that of the identity, or empty for who has shown a token of the listener's own file.
func (s *Sender) Name() string { return s.name }

// MayWrite reports whether the sender may write to the stream.
func (s *Sender) MayWrite(stream string) bool {
	return s.knows.Streams == nil || matchesAny(s.knows.Streams, stream)
}

// Take asks whether events, which have so many bytes of payload together, may be sent now, and counts them
// if so. Else it returns how long to wait before that is worth another try.
func (s *Sender) Take(events, bytes int) (wait time.Duration) {
	if s.budget == nil {
		return 0
	}
	return s.budget.take(time.Now(), float64(events), float64(bytes))
}

// shows reports whether the identity is known by a certificate or by a process.
func (s *Sender) shows(shown *Shown) bool {
	i := &s.knows
	if p := shown.Peer; p != nil && (slices.Contains(i.UIDs, int64(p.UID)) || slices.ContainsFunc(i.GIDs, p.isIn)) {
		return true
	}
	return shown.Certificate != nil && len(i.Certificates) > 0 &&
		slices.ContainsFunc(names(shown.Certificate), func(name string) bool { return matchesAny(i.Certificates, name) })
}

// isIn reports whether the process is in a group.
func (p *Peer) isIn(gid int64) bool {
	return int64(p.GID) == gid || slices.ContainsFunc(p.Groups, func(g uint32) bool { return int64(g) == gid })
}

// names are the names that a certificate is of.
func names(c *x509.Certificate) []string {
	names := append([]string{c.Subject.CommonName}, c.DNSNames...)
	names = append(names, c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == "" })
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches reports whether name is what pattern says, * being any run of characters, also none. It takes the
// first place where the text between two stars fits: a later one can't do better.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, begins := strings.CutPrefix(name, parts[0])
	rest, ends := strings.CutSuffix(rest, parts[len(parts)-1])
	if !begins || !ends {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		var found bool
		if _, rest, found = strings.Cut(rest, part); !found {
			return false
		}
	}
	return true
}
