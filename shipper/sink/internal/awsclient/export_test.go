package awsclient

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeReply returns the HTTP client that is used under the SDK, over any transport.
func WholeReply(t http.RoundTripper) aws.HTTPClient {
	return wholeReply{&http.Client{Transport: t}}
}

// Internals for the tests of proxies.
var (
	EnvironmentProxy = &environmentProxy
	CredentialsProxy = credentialsProxy
	LoadOptions      = loadOptions
)
