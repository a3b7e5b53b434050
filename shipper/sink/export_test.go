package sink

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeReply is the HTTP client that goes under the SDK, over any transport.
func WholeReply(t http.RoundTripper) aws.HTTPClient {
	return wholeReply{&http.Client{Transport: t}}
}
