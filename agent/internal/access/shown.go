package access

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
)

// Shown is the credentials of a caller.
type Shown struct {
	Certificate *x509.Certificate // verified by TLS; nil: none
	Peer        *Peer             // the process at the other end of a unix socket; nil: unknown
	Addr        net.Addr          // the caller's address; nil: unknown
	token       *digest           // nil: none
	fault       string            // an error in the credentials; empty: none
}

// Peer is the user and the groups of a process, from the kernel.
type Peer struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups
}

func (p *Peer) String() string { return fmt.Sprintf("a process of uid %d and gid %d", p.UID, p.GID) }

// OfConnection returns the credentials of a connection from addr: the certificate verified by its TLS, and the process at its
// other end, if they are known.
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

// WithAuthorization adds the token of an Authorization header, if there is one: a bearer token, or the password of HTTP basic
// authentication, whose user is ignored.
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
