package access

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Identity is a producer, or a group of producers: its credentials and its rights.
type Identity struct {
	Name  string
	Where string // position in the configuration, for errors; may be empty

	TokenFile    string   // with its tokens, one a line; default: none
	Certificates []string // patterns for names of certificates; * is any run of characters
	UIDs, GIDs   []int64  // of the process, on a unix socket

	Streams             []string // patterns for streams that it may write to; nil: all
	Read                []string // patterns for streams that it may read
	MaxEvents, MaxBytes int64    // a second; 0: no limit
}

// Sender is a known producer.
type Sender struct {
	name   string
	knows  Identity
	tokens *tokenFile // nil: none
	budget *budget    // nil: no limit
	tally  *tally
}

// newSender returns a sender for the identity i. It continues the figures of the sender before, if that is not nil, its budget
// if the limits are the same, and its tokens if the file is the same.
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

// title returns the sender's name for errors.
func (s *Sender) title() string {
	title := fmt.Sprintf("identity %q", s.name)
	if s.knows.Where != "" {
		title = s.knows.Where + ": " + title
	}
	return title
}

// Name returns the identity's name. It is empty for callers with a token of the listener's own file.
func (s *Sender) Name() string { return s.name }

// MayWrite reports whether the sender may write to the stream.
func (s *Sender) MayWrite(stream string) bool {
	return s.knows.Streams == nil || matchesAny(s.knows.Streams, stream)
}

// MayRead reports whether the sender may read the stream.
func (s *Sender) MayRead(stream string) bool { return matchesAny(s.knows.Read, stream) }

// Take acquires the rate budget for a batch of so many events and payload bytes, or returns the time to wait before another
// try.
func (s *Sender) Take(events, bytes int) (wait time.Duration) {
	if s.budget == nil {
		return 0
	}
	return s.budget.take(time.Now(), float64(events), float64(bytes))
}

// shows reports whether the shown certificate or process identifies the sender.
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

// names returns all names of a certificate.
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
	return slices.ContainsFunc(patterns, func(p string) bool { return Matches(p, name) })
}

// Matches reports whether name matches pattern, in which * is any run of characters, also none. The first match of the text
// between two stars is enough: a later one would leave less for the rest.
func Matches(pattern, name string) bool {
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
