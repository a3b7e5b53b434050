package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// cliHost is the Host of this program's own commands.
const cliHost = "standpipe"

// ownHost rejects requests whose Host is a foreign name, as protection from DNS rebinding: a site's name is made to resolve
// to this server, and a page of the site then reads the responses as its own site's. Its GET has neither an Origin nor
// fetch metadata, but its Host is always the site's name. IP addresses, localhost and Options.Names pass, since a foreign
// site cannot have them. With a guard or a verified client certificate no check is needed: a page has no credentials.
func (s *Server) ownHost(then http.Handler) http.Handler {
	if s.guard != nil {
		return then
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.isOwn(r.Host) && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
			text := fmt.Sprintf("Host %.100q is not this agent's: an IP address, localhost, node_name and the host of the "+
				"admin block's address are; any is with auth in the admin block", r.Host)
			http.Error(w, text, http.StatusForbidden)
			return
		}
		then.ServeHTTP(w, r)
	})
}

// isOwn reports whether the value of a Host header names this agent. HTTP/1.0 may leave it out; no browser does.
func (s *Server) isOwn(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || s.names[host]
}
