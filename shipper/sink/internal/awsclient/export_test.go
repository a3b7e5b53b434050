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

// InUse returns the number of shared configurations in use.
func InUse() int {
	clients.mu.Lock()
	defer clients.mu.Unlock()
	return len(clients.inUse)
}

// Loaded returns the number of shared configurations that were read.
func Loaded() int {
	clients.mu.Lock()
	defer clients.mu.Unlock()
	return clients.loaded
}
