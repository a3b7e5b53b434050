package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/standpipe/standpipe/agent/access"
)

// originKey is where the context of a connection has its origin, on a server with a guard.
type originKey struct{}

// origin is where a connection comes from.
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

// admit returns why a request is not for who asks. Health may be asked by anybody, as over gRPC: what
// watches a process has often no secret to show.
func (s *Server) admit(r *http.Request) error {
	if s.guard == nil || r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return nil
	}
	_, err := s.guard.Admit(shownBy(r))
	return err
}

// knows reports whether who asks may know more than whether all is well.
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

// refuse answers who is not known. A browser then asks for a name, which is not looked at, and a password,
// which is a token.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("WWW-Authenticate", `Basic realm="standpipe", Bearer realm="standpipe"`)
	http.Error(w, err.Error(), http.StatusUnauthorized)
}
