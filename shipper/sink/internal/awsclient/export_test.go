package awsclient

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeReply is the HTTP client that goes under the SDK, over any transport.
func WholeReply(t http.RoundTripper) aws.HTTPClient {
	return wholeReply{&http.Client{Transport: t}}
}

// KnownCode reports whether Classify has a class for a service's code, whatever the status.
func KnownCode(code string) bool {
	_, known := classes[code]
	return known
}

// Internals that the tests of proxies look at.
var (
	EnvironmentProxy = &environmentProxy
	CredentialsProxy = credentialsProxy
	LoadOptions      = loadOptions
)
