package access

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
)

// Shown is what a producer shows of itself.
type Shown struct {
	Certificate *x509.Certificate // that TLS has verified; nil: none
	Peer        *Peer             // the process at the other end of a unix socket; nil: not known
	Addr        net.Addr          // where it is; nil: not known
	token       *digest           // nil: none
	fault       string            // what is wrong with what is shown; empty: nothing
}

// Peer is what the kernel says of a process.
type Peer struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

func (p *Peer) String() string { return fmt.Sprintf("a process of uid %d and gid %d", p.UID, p.GID) }

// OfConnection is what a connection from addr shows: a certificate that its TLS has verified, if it has TLS, and
// the process at its other end, if that is known.
func OfConnection(addr net.Addr, state *tls.ConnectionState, process *Peer) Shown {
	shown := Shown{Addr: addr, Peer: process}
	if state != nil && len(state.VerifiedChains) > 0 {
		shown.Certificate = state.PeerCertificates[0]
	}
	return shown
}

// WithToken adds a token, unless it is empty.
func (s Shown) WithToken(token string) Shown {
	if token != "" {
		d := digestOf(token)
		s.token = &d
	}
	return s
}

// WithAuthorization adds the token of an Authorization header, unless there is none: what follows Bearer, or
// the password of HTTP basic authentication, whose user is not looked at.
func (s Shown) WithAuthorization(header string) Shown {
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return s
	case strings.EqualFold(scheme, "bearer"):
		return s.WithToken(strings.TrimSpace(rest))
	case strings.EqualFold(scheme, "basic"):
		text, err := base64.StdEncoding.DecodeString(rest)
		if _, password, ok := strings.Cut(string(text), ":"); ok && err == nil {
			return s.WithToken(password)
		}
	}
	s.fault = "the request's authorization is neither of the kind Bearer nor Basic"
	return s
}
