package sink

import (
	"net/url"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/shipper"
)

// shardQuota is what a shard takes, in either capacity mode: Kinesis Data Streams Developer Guide,
// "Quotas and limits" and "Large records", November 2026. The guide says 1 MB.
var shardQuota = shipper.Quota{Bytes: 1_000_000, Records: 1000}

// largeRegions have the larger of two quotas for a Firehose stream that is written to directly: Amazon
// Data Firehose Developer Guide, "Quota", November 2026. A quota is raised on request, all three kinds in
// proportion, and shared by everybody who writes to the stream.
var largeRegions = map[string]bool{"us-east-1": true, "us-west-2": true, "eu-west-1": true}

func firehoseQuota(region string) shipper.Quota {
	if largeRegions[region] {
		return shipper.Quota{Bytes: 5 << 20, Records: 500_000, Requests: 2000}
	}
	return shipper.Quota{Bytes: 1 << 20, Records: 100_000, Requests: 1000}
}

// quotaOf returns what is set, and the service's own for what is not. What stands at another endpoint than
// AWS's has no quota that we know.
func quotaOf(set, own shipper.Quota, endpoint *string) shipper.Quota {
	if endpoint != nil && !ofAWS(*endpoint) {
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

// ofAWS tells whether an endpoint is AWS's own, for example one within a VPC.
func ofAWS(endpoint string) bool {
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
