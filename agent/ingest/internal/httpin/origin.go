package httpin

import (
	"net/http"
	"net/textproto"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/connlimit"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// fromPage rejects a request of a web page whose origin is not listed. Any page that is open on this host can send to a
// loopback address, and its request is rejected even if it cannot read the response.
func (w *Listener) fromPage(out http.ResponseWriter, r *http.Request, method string) *intake.Rejection {
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
	if w.origins[origin] {
		// A beacon carries credentials, and the page can't change that. "*" stands for pages that no operator has vetted.
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if r.Method == http.MethodOptions {
		h.Add("Vary", "Access-Control-Request-Headers")
		h.Set("Access-Control-Allow-Methods", method)
		h.Set("Access-Control-Allow-Headers", w.preflight+attributeHeaders(r))
		h.Set("Access-Control-Max-Age", "3600")
	}
	return nil
}

// attributeHeaders returns the names of attributes among the headers of a preflight, each after a comma: with
// credentials a preflight response can name no pattern.
func attributeHeaders(r *http.Request) string {
	var names strings.Builder
	for _, list := range r.Header.Values("Access-Control-Request-Headers") {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			if _, ok := strings.CutPrefix(textproto.CanonicalMIMEHeaderKey(name), attributesHeader); ok && isToken(name) {
				names.WriteString(", " + name)
			}
		}
	}
	return names.String()
}

// isToken reports whether a header may have the name (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

var errForeignPage = &intake.Rejection{
	Code: codes.PermissionDenied, Reason: intake.ReasonForbidden, Event: intake.NoEvent,
	Text: "the page's origin is not among the listener's cors_origins",
}

// admitted returns the request of a producer that is known, with its pass.
func (w *Listener) admitted(out http.ResponseWriter, r *http.Request) (*http.Request, *intake.Rejection) {
	if w.in.Guard == nil {
		return r, nil
	}
	conn := r.Context().Value(connKey{}).(*connlimit.Conn)
	shown := intake.ShownBy(conn.RemoteAddr(), r.TLS).WithAuthorization(r.Header.Get("Authorization"))
	ctx, refused := w.in.Admit(r.Context(), shown)
	if refused != nil {
		out.Header().Set("WWW-Authenticate", `Bearer realm="standpipe", Basic realm="standpipe"`)
		return r, refused
	}
	return r.WithContext(ctx), nil
}
