package failure

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// Codes of failures that no service named. They are values of the metrics' label code.
const (
	CodeTimeout     = shipper.CodeTimeout // no response in time: the outcome is unknown
	CodeCanceled    = "canceled"          // the caller gave up: the outcome is unknown
	CodeConnection  = "connection"        // the connection broke or was never established: the outcome may be unknown
	CodeTLS         = "tls"               // the peer's certificate was rejected
	CodeBadResponse = "bad reply"         // the response is malformed: the outcome is unknown
	CodeEndpoint    = "endpoint"          // the configuration names no usable endpoint or region
	CodeCredentials = "credentials"       // none are configured, or they can't be fetched
)

// maxText is the length limit of an error's text, in bytes.
const maxText = 300

// Of classifies err, the error of a request without a response.
func Of(err error) *shipper.Error {
	e := &shipper.Error{Class: shipper.Transient, Text: Shorten(rootText(err)), Record: -1}
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		e.Code = CodeCanceled
	case isDial(err):
		e.Code, e.Unreached = CodeConnection, true
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		e.Code = CodeTimeout
	case errors.As(err, &certificate):
		e.Code, e.Class = CodeTLS, shipper.Operator
	default:
		var silent *dial.SilentError
		e.Code, e.Unreached = CodeConnection, errors.As(err, &silent) || errors.Is(err, dial.LinkError{})
	}
	return e
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// isDial reports whether the connection could not be established.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// rootText returns the text of err without the method and URL of the request.
func rootText(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

// Shorten returns text as one line of valid UTF-8 of at most 300 bytes, and "..." where it was cut.
func Shorten(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
