package awsclient

import (
	"net/url"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/shipper"
)

// Quota returns the limits of set, and for each one that is not set the service's own. Endpoints other than AWS's have
// no known quota; endpoint nil is AWS's.
func Quota(set, own shipper.Quota, endpoint *string) shipper.Quota {
	if endpoint != nil && !OfAWS(*endpoint) {
		own = shipper.Quota{}
	}
	return shipper.Quota{
		Bytes:    orElse(set.Bytes, own.Bytes),
		Records:  orElse(set.Records, own.Records),
		Requests: orElse(set.Requests, own.Requests),
	}
}

func orElse(set, own int) int {
	if set > 0 {
		return set
	}
	return own
}

// OfAWS reports whether an endpoint is AWS's own, for example one within a VPC.
func OfAWS(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return slices.ContainsFunc(domains, func(domain string) bool { return strings.HasSuffix(host, domain) })
}

// domains are those of AWS's partitions, the second of each for dual-stack endpoints: partitions.json of the SDK
// (aws-sdk-go-v2 v1.47.6).
var domains = []string{
	".amazonaws.com", ".api.aws",
	".amazonaws.com.cn", ".api.amazonwebservices.com.cn",
	".amazonaws.eu", ".api.amazonwebservices.eu",
	".c2s.ic.gov", ".api.aws.ic.gov",
	".sc2s.sgov.gov", ".api.aws.scloud",
	".csp.hci.ic.gov", ".api.aws.hci.ic.gov",
	".cloud.adc-e.uk", ".api.cloud-aws.adc-e.uk",
}
