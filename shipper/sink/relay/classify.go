package relay

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// requestError is the failure of a request.
type requestError struct {
	ranged.Error
	// stored: the receiver has stored the events before this offset, and rejects the request for that. 0: it does not say.
	stored uint64
}

// remedies names the change that ends a rejection, by its code.
var remedies = map[codes.Code]string{
	codes.NotFound:           "add a stream block that matches at the receiver",
	codes.Unauthenticated:    "set a token_file or a certificate that the receiver knows",
	codes.PermissionDenied:   "let the receiver's identity block allow the stream",
	codes.FailedPrecondition: "remove a destination of the loop",
	codes.Unimplemented:      "set the address of a grpc listener of standpipe",
}

// classify decides how the error of a request for the events at offsets is handled. Only a rejection in which the receiver
// names the event and the rule makes a dead letter.
func classify(err error, offsets []uint64) *requestError {
	e := client.ErrorOf(err)
	f := &requestError{Error: ranged.Error{Error: shipper.Error{
		Class: shipper.Transient, Code: code.Code(e.Code).String(), Text: failure.Shorten(e.Text), Record: -1, RetryAfter: e.RetryAfter,
	}}}
	switch e.Code {
	case codes.Canceled:
		f.Code = failure.CodeCanceled
	case codes.DeadlineExceeded:
		f.Code = failure.CodeTimeout
	case codes.Unavailable:
		f.classifyConnection(e)
	case codes.ResourceExhausted:
		f.classifyExhausted(e, offsets)
	case codes.InvalidArgument:
		f.classifyInvalid(e, offsets)
	case codes.NotFound, codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition, codes.Unimplemented, codes.OutOfRange:
		f.needOperator(remedies[e.Code])
	}
	return f
}

func (f *requestError) needOperator(remedy string) {
	f.Class = shipper.Operator
	if remedy != "" {
		f.Text += "; " + remedy
	}
}

// classifyConnection distinguishes a receiver that is out of reach from a rejected certificate.
func (f *requestError) classifyConnection(e *client.Error) {
	switch {
	case e.Reason != "": // the receiver's own: it shuts down, or its log has failed
	case strings.Contains(e.Text, "x509: ") || strings.Contains(e.Text, "tls: "):
		f.Code = failure.CodeTLS
		f.needOperator("check the tls block and the receiver's certificate")
	case strings.HasPrefix(e.Text, credentialsText):
		f.Code = failure.CodeCredentials
		f.needOperator("")
	default:
		f.Code = failure.CodeConnection
	}
}

// classifyExhausted: the receiver names a delay when it is full or busy, or when the sender exceeds its rate. Without one the
// request is larger than the listener, or something on the way, takes.
func (f *requestError) classifyExhausted(e *client.Error, offsets []uint64) {
	switch {
	case e.Reason == "state_full", e.Reason == "too_many_streams":
		f.needOperator("")
	case e.RetryAfter > 0:
		f.Class = shipper.Throttled
	default:
		f.tooLarge(offsets, e.Reason != "")
	}
}

// classifyInvalid: the receiver names the rule and, if it is the event's, its index.
func (f *requestError) classifyInvalid(e *client.Error, offsets []uint64) {
	switch {
	case e.Reason == "sequence" && e.NextSequence > 0 && e.NextSequence > offsets[0]:
		f.stored = e.NextSequence
		f.needOperator("")
	case e.Reason == "sequence":
		f.needOperator("the receiver's release allows no gaps in sequences: update it")
	case e.Reason != "" && e.Event >= 0 && e.Event < len(offsets):
		f.reject(offsets[e.Event], strings.TrimPrefix(f.Text, fmt.Sprintf("event %d: ", e.Event)))
	case e.Reason == "too_large":
		f.tooLarge(offsets, true)
	default:
		f.needOperator("")
	}
}

// tooLarge makes the events go in smaller requests. A single event needs an operator, unless the receiver itself rejects it.
func (f *requestError) tooLarge(offsets []uint64, byReceiver bool) {
	switch {
	case len(offsets) > 1:
		f.TooLarge, f.Restart = true, true
	case byReceiver:
		f.reject(offsets[0], f.Text)
	default:
		f.needOperator("raise max_request_size at the receiver")
	}
}

func (f *requestError) reject(offset uint64, text string) {
	r := rejected(offset, "rejected by the receiver: "+text)
	r.Code, r.Text = f.Code, f.Text
	f.Error = *r
}

// rejected returns the error for an event that the receiver rejects for good.
func rejected(offset uint64, reason string) *ranged.Error {
	return &ranged.Error{
		Error:   shipper.Error{Class: shipper.Poison, Code: "INVALID_ARGUMENT", Text: reason, Record: -1},
		Restart: true, Rejected: []ranged.Rejection{{Offset: offset, Reason: reason}},
	}
}
