package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// originKey is the context key of a connection's origin, on a server with a guard.
type originKey struct{}

// origin is the remote end of a connection.
type origin struct {
	addr    net.Addr
	process *access.Peer
}

func withOrigin(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, originKey{}, origin{c.RemoteAddr(), access.PeerOf(c)})
}

// admit returns an error if the caller of r has no access. Health is open to all callers, as over gRPC: probes often have no
// credentials.
func (s *Server) admit(r *http.Request) error {
	if s.guard == nil || r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return nil
	}
	_, err := s.guard.Admit(shownBy(r))
	return err
}

// knows reports whether the caller of r may see more than the state of health.
func (s *Server) knows(r *http.Request) bool {
	if s.guard == nil {
		return true
	}
	shown := shownBy(r)
	_, err := s.guard.Who(&shown)
	return err == nil
}

func shownBy(r *http.Request) access.Shown {
	from, _ := r.Context().Value(originKey{}).(origin)
	return access.OfConnection(from.addr, r.TLS, from.process).WithAuthorization(r.Header.Get("Authorization"))
}

// unauthorized responds to an unknown caller. A browser then prompts for a name, which is ignored, and a password, which is a
// token.
func unauthorized(w http.ResponseWriter, err error) {
	w.Header().Set("WWW-Authenticate", `Basic realm="standpipe", Bearer realm="standpipe"`)
	http.Error(w, err.Error(), http.StatusUnauthorized)
}
