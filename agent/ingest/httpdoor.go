package ingest

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
)

// fromPage holds a request that a web page sends to the origins that may. Every page that somebody
// on this host looks at can send to a loopback address: what names an origin that is not listed is
// refused, whether the page could read the answer or not.
func (w *httpWire) fromPage(out http.ResponseWriter, r *http.Request, method string) *refusal {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	h := out.Header()
	h.Add("Vary", "Origin")
	if !w.origins[origin] && !w.origins["*"] {
		return errForeignPage
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", method)
		h.Set("Access-Control-Allow-Headers", w.preflight)
		h.Set("Access-Control-Max-Age", "3600")
	}
	return nil
}

var errForeignPage = &refusal{
	code: codes.PermissionDenied, reason: ReasonForbidden, event: noEvent,
	text: "the page's origin is not among the listener's cors_origins",
}

// admitted returns the request of a producer that is known, with its pass. The token is what follows Bearer,
// or the password of HTTP basic authentication, whose user is not looked at.
func (w *httpWire) admitted(out http.ResponseWriter, r *http.Request) (*http.Request, *refusal) {
	if w.in.guard == nil {
		return r, nil
	}
	process := r.Context().Value(connKey{}).(*knownConn).process
	token, refused := tokenOf(r)
	ctx := r.Context()
	if refused == nil {
		ctx, refused = w.in.admit(ctx, shownBy(r.TLS, process).WithToken(token))
	}
	if refused != nil {
		out.Header().Set("WWW-Authenticate", `Bearer realm="standpipe", Basic realm="standpipe"`)
		return r, refused
	}
	return r.WithContext(ctx), nil
}

// tokenOf returns the token that the request carries, or none.
func tokenOf(r *http.Request) (string, *refusal) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, nil
	}
	said := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(said, " ")
	if said != "" && !strings.EqualFold(scheme, "bearer") {
		return "", unauthenticated("the request's authorization is neither of the kind Bearer nor Basic")
	}
	return strings.TrimSpace(token), nil
}
