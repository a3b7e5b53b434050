package kinesis

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/rpcv2"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// format is the format of requests that an endpoint takes: CBOR or JSON. An endpoint takes CBOR once it has responded in
// CBOR. It takes only JSON once it has understood a request in JSON after it had not responded in CBOR; that holds for the
// life of the process. Until then both are tried.
//
// At AWS's endpoint a request in CBOR without a response in CBOR is a miss, since the link may be down. A proxy that does not let
// CBOR through costs maxMisses requests.
type format struct {
	off   bool // all requests are in JSON
	ofAWS bool // AWS's endpoint: a request without a response is little evidence

	mu     sync.Mutex
	cbor   bool // it takes CBOR; guarded by mu
	json   bool // it takes only JSON; guarded by mu
	doubt  bool // the last request in CBOR got no response in CBOR, so the next one is in JSON; guarded by mu
	misses int  // requests in CBOR without a response in CBOR, one after the other; guarded by mu
	proved bool // since the last response in CBOR, a request in JSON was understood after maxMisses; guarded by mu
}

// maxMisses is the number of misses after which an endpoint of AWS gets a request in JSON. If that is understood, and the next
// one in CBOR is a miss again, the endpoint is one that takes only JSON.
const maxMisses = 3

// formats holds the *format of each endpoint, by its URL or, for AWS's, by its region.
var formats sync.Map

// formatOf returns the format of a client's endpoint. An endpoint that is not AWS's gets CBOR only on request: kinesalite 3.3.3 cuts
// long responses in CBOR off, and readers in JSON cannot read its records that came in CBOR.
func formatOf(o kinesis.Options, anywhere bool) *format {
	endpoint := aws.ToString(o.BaseEndpoint)
	f := &format{ofAWS: endpoint == "" || awsclient.OfAWS(endpoint)}
	if !f.ofAWS && !anywhere {
		return &format{off: true}
	}
	if endpoint == "" {
		endpoint = o.Region
	}
	known, _ := formats.LoadOrStore(endpoint, f)
	return known.(*format)
}

// protocol returns the protocol of a request: json, or CBOR with the errors of json.
func (f *format) protocol(json awsclient.WholeBody, inCBOR bool) awsclient.Protocol {
	if !inCBOR {
		return json
	}
	return cborProtocol{ClientProtocol: json.ClientProtocol, decoder: decoder, format: f}
}

// decoder decodes responses in CBOR: they have the members of Smithy's RPC v2.
var decoder = rpcv2.NewCBOR(schemas.Kinesis_20131202)

// try calls send, which sends a request in CBOR or JSON. If the endpoint rejects the request because it is in CBOR, try
// calls send again, for JSON: the endpoint can't have stored anything that it can't read.
func (f *format) try(ctx context.Context, send func(inCBOR bool) error) error {
	if f.off {
		return send(false)
	}
	if !f.usesCBOR() {
		err := send(false)
		f.triedJSON(err)
		return err
	}
	before := awsclient.SentBytes(ctx)
	err := send(true)
	if !f.rejected(err) {
		switch {
		case err == nil:
		case awsclient.SentBytes(ctx) > before:
			f.unanswered()
		default:
			f.unsent()
		}
		return err
	}
	err = send(false)
	f.triedJSON(err)
	return err
}

// usesCBOR reports whether the next request is in CBOR. It is a miss until a response in CBOR comes.
func (f *format) usesCBOR() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.cbor && (f.json || f.doubt) {
		return false
	}
	f.misses++
	return true
}

// unsent notes that the last request in CBOR did not reach the endpoint.
func (f *format) unsent() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.misses = max(f.misses-1, 0)
}

// answered notes a response in CBOR.
func (f *format) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cbor, f.doubt, f.proved, f.misses = true, false, false, 0
}

// answeredOtherwise notes a response to a request in CBOR that is not in CBOR. A proxy may have sent it.
func (f *format) answeredOtherwise() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubt = !f.ofAWS || !f.cbor && f.misses >= maxMisses
}

// broken notes a response in CBOR that can't be decoded.
func (f *format) broken() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ofAWS {
		f.cbor, f.json = false, true
	}
}

// unanswered notes that a request in CBOR has failed: some stand-ins close the connection when they can't read it.
func (f *format) unanswered() { f.answeredOtherwise() }

// triedJSON notes the outcome of a request in JSON.
func (f *format) triedJSON(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	missed := f.doubt && f.ofAWS
	f.doubt = false
	switch {
	case !understood(err):
	case missed && !f.proved: // many requests under way may have missed by one failure of the link
		f.proved, f.misses = true, maxMisses-1
	default:
		f.json = !f.cbor
	}
}

// understood reports whether the endpoint has read a request: it has stored it, or has rejected it for another reason than its body.
func understood(err error) bool {
	var r *smithyhttp.ResponseError
	return err == nil || errors.As(err, &r) && r.HTTPStatusCode() >= 400 && r.HTTPStatusCode() < 500 && !aboutBody(err)
}

// rejected reports whether a request may have failed because it was in CBOR. A server that takes CBOR responds in CBOR.
// Others reject the content type or the body, or take the body for one without members, or fail.
func (f *format) rejected(err error) bool {
	var r *smithyhttp.ResponseError
	if !errors.As(err, &r) || r.Response == nil || r.Response.Response == nil || inCBOR(r.Response) || !aboutBody(err) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Response.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		f.cbor = false
	case http.StatusInternalServerError, http.StatusNotImplemented:
	default:
		return false
	}
	return !f.cbor
}

// aboutBody reports whether an error may be one about the body of a request: it has no code of the service for another
// reason.
func aboutBody(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return true
	}
	class, known := awsclient.ClassOfCode(api.ErrorCode())
	return !known || class == shipper.Poison || api.ErrorCode() == "UnknownOperationException"
}
