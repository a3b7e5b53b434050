package rule

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// Path accepts the path of a pixel.
func Path(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "does not begin with /"
	case s == "/v1" || strings.HasPrefix(s, "/v1/"):
		return "is the listener's own"
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '?' || c == '#' || c == '%' }):
		return "has a character that a path is not written with"
	}
	return ""
}

// Header accepts the name of a header.
func Header(s string) string {
	if s == "" {
		return "is empty"
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII || !schema.NameChar(c) }) {
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	}
	return ""
}

// Origin accepts the values of a browser's Origin header.
func Origin(s string) string {
	u, err := url.Parse(s)
	if s == "*" || err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host {
		return ""
	}
	return "is no origin"
}

// Host accepts a host.
func Host(s string) string {
	if s == "" || !schema.ValidHost(s) {
		return "is no host"
	}
	return ""
}
