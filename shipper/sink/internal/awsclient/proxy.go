package awsclient

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// environmentProxy is the proxy of HTTPS_PROXY, HTTP_PROXY and NO_PROXY for a request; nil: none.
var environmentProxy = http.ProxyFromEnvironment

// credentialsClient is the client with which the SDK's chain fetches credentials. The environment's proxy is for
// services alone, STS and SSO among them. No proxy can reach the sources of a task's, a pod's or an instance's
// credentials (RFC 3927 addresses, loopback, and the environment's endpoints), and none may see the token that is
// sent there. The SDK would use the proxy, as net/http does for all but loopback.
func credentialsClient() *awshttp.BuildableClient {
	return httpClient().WithTransportOptions(func(t *http.Transport) { t.Proxy = credentialsProxy })
}

// serviceClient returns c with the environment's proxy, for the requests to a service.
func serviceClient(c *awshttp.BuildableClient) *awshttp.BuildableClient {
	return c.WithTransportOptions(func(t *http.Transport) { t.Proxy = environmentProxy })
}

func credentialsProxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "https" || isLocal(r.URL.Hostname()) || isSource(r.URL.Host) {
		return nil, nil
	}
	return environmentProxy(r)
}

// ec2Local holds the addresses of instance and pod metadata over IPv6.
var ec2Local = netip.MustParsePrefix("fd00:ec2::/32")

// isLocal reports whether host is this host or an address of its link.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ec2Local.Contains(ip)
}

// isSource reports whether host, with its port, is a credentials endpoint that the environment names.
func isSource(host string) bool {
	for _, name := range []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"} {
		if u, err := url.Parse(os.Getenv(name)); err == nil && u.Host != "" && strings.EqualFold(u.Host, host) {
			return true
		}
	}
	return false
}
