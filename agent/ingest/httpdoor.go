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

// admitted checks the token of a request: what follows Bearer, or the password of HTTP basic
// authentication, whose user is not looked at.
func (w *httpWire) admitted(out http.ResponseWriter, r *http.Request) *refusal {
	if w.admit == nil {
		return nil
	}
	token := bearer(r)
	if token != "" && w.admit(token) {
		return nil
	}
	out.Header().Set("WWW-Authenticate", `Bearer realm="standpipe", Basic realm="standpipe"`)
	if token == "" {
		return unauthenticated("the request carries no token; Authorization with Bearer or Basic is needed")
	}
	return unauthenticated("the request's token is not known")
}

func bearer(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
