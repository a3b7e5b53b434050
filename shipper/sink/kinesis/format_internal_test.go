package kinesis

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// respond is the error of a response in JSON.
func respond(status int, code string) error {
	r := &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: errors.New("no code")}
	if code != "" {
		r.Err = &smithy.GenericAPIError{Code: code}
	}
	return r
}

// An endpoint that does not take CBOR gets it a few times at most, also if it rejects the requests in JSON for another reason.
func TestFormat_CBORIsNotTriedForEver(t *testing.T) {
	otherwise := errors.New("a response that is not of the service")
	for _, test := range []struct {
		name       string
		ofAWS      bool
		cbor, json error
		want       string // the formats of the requests: C or J
	}{
		{"AWS rejects CBOR", true, respond(400, "SerializationException"), nil, "CJJJJJJJJJ"},
		{"AWS rejects CBOR, and the name", true, respond(400, "SerializationException"), respond(400, "ResourceNotFoundException"), "CJJJJJJJJJ"},
		{"another one rejects CBOR, and the rate", false, respond(415, ""), respond(400, "ProvisionedThroughputExceededException"), "CJJJJJJJJJ"},
		{"a proxy lets no CBOR through to AWS", true, otherwise, nil, "CCCJCJJJJJ"},
		{"a proxy lets nothing through to AWS", true, otherwise, otherwise, "CCCJCJCJCJ"},
		{"AWS fails", true, respond(500, "InternalFailure"), respond(500, "InternalFailure"), "CCCJCJCJCJ"},
		{"another one closes the connection", false, otherwise, nil, "CJJJJJJJJJ"},
	} {
		f := &format{ofAWS: test.ofAWS}
		ctx, up := awsclient.CountSent(t.Context())
		var got []byte
		for len(got) < 10 {
			f.try(ctx, func(inCBOR bool) error {
				up.Sent.Add(1)
				if !inCBOR {
					got = append(got, 'J')
					return test.json
				}
				got = append(got, 'C')
				f.answeredOtherwise() // as the decoder of the response does
				return test.cbor
			})
		}
		if string(got[:10]) != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// A link that fails now and then does not end CBOR at an endpoint that has taken it, nor a few failures at the start.
func TestFormat_CBORIsKeptOverFailures(t *testing.T) {
	f := &format{ofAWS: true}
	ctx, up := awsclient.CountSent(t.Context())
	var got []bool
	for i := range 12 {
		f.try(ctx, func(inCBOR bool) error {
			up.Sent.Add(1)
			got = append(got, inCBOR)
			if i == 4 || i == 8 {
				f.answered()
				return nil
			}
			f.answeredOtherwise()
			return errors.New("a gateway of the link")
		})
	}
	if want := []bool{true, true, true, false, true, true, true, true, true, true, true, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The link fails while several requests are under way. That is one failure, after which CBOR is tried again.
func TestFormat_CBORIsKeptOverAFailureOfManyRequests(t *testing.T) {
	f := &format{ofAWS: true}
	fail := func(requests int) {
		for range requests {
			if !f.usesCBOR() {
				t.Fatal("a request under way is in JSON, want CBOR")
			}
		}
		for range requests {
			f.unanswered()
		}
	}
	fail(8)
	if f.usesCBOR() {
		t.Fatal("the request after the failure is in CBOR, want JSON")
	}
	f.triedJSON(nil)
	if !f.usesCBOR() {
		t.Fatal("all requests are in JSON after one failure of the link, want CBOR")
	}
	f.answered()
	for range 3 {
		fail(8)
	}
}
