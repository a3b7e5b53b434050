package cli

import (
	"strings"
)

// hints are the likely reasons of failed connections, by a part of the error's text. The first match counts.
var hints = []struct{ part, hint string }{
	{"frame header looked like an HTTP/1.1 header", "an HTTP listener responds at this address; put needs the gRPC listener, by default " + DefaultIngestAddress},
	{`malformed HTTP response "\x00`, "a gRPC listener responds at this address; this command needs the admin listener, by default " + DefaultAdminAddress},
	{`malformed HTTP response "\x15`, "the listener has TLS; give --tls or --ca-file"},
	{`malformed HTTP response`, "this is no admin listener of standpipe, by default " + DefaultAdminAddress},
	{"server gave HTTP response to HTTPS client", "the listener has no TLS; leave out --tls and --ca-file"},
	{"first record does not look like a TLS handshake", "the listener has no TLS; leave out --tls and --ca-file"},
	{"error reading server preface", "the listener closed the connection; if it has TLS, give --tls or --ca-file"},
	{"HTTP request to an HTTPS server", "the listener has TLS; give --tls or --ca-file"},
	{"certificate signed by unknown authority", "give the CA of the agent's certificate with --ca-file, or the agent's file with --config"},
	{"certificate is valid for", "give an --address with a name of the agent's certificate"},
	{"connection refused", "is the agent running, and is this the address in its configuration? --config takes it from there"},
	{"no such file or directory", "is the agent running, and is this the socket in its configuration? --config takes it from there"},
	{"permission denied", "the mode of the socket does not allow this user; see mode in the listener block"},
	{"404 page not found", "this is no admin listener of standpipe, by default " + DefaultAdminAddress},
	{"connection reset by peer", "if the listener has TLS, give --tls or --ca-file"},
}

// Hint returns err with the likely reason of a failed connection, if it is known.
func Hint(err error) error {
	if err == nil {
		return nil
	}
	for _, h := range hints {
		if strings.Contains(err.Error(), h.part) {
			return &hinted{err, h.hint}
		}
	}
	return err
}

// hinted is an error with a hint.
type hinted struct {
	err  error
	hint string
}

// Error leaves out the bytes that another protocol would have as a response: the hint says what they mean.
func (h *hinted) Error() string {
	text := h.err.Error()
	for _, noise := range []string{": net/http: HTTP/1.x transport connection broken", ": http2: failed reading the frame payload"} {
		if before, after, there := strings.Cut(text, noise); there {
			text = before
			if _, rest, quoted := strings.Cut(after, `HTTP/1.1 header"`); quoted {
				text += `"` + rest
			}
		}
	}
	return text + "; " + h.hint
}

func (h *hinted) Unwrap() error { return h.err }
