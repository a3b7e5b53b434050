package firehose

import "github.com/standpipe/standpipe/shipper"

// largeRegions have the larger of two quotas for a Firehose stream that is written to directly: Amazon Data Firehose
// Developer Guide, "Quota", November 2026. AWS raises a quota on request, all three kinds in proportion. All writers to
// the stream share it.
var largeRegions = map[string]bool{"us-east-1": true, "us-west-2": true, "eu-west-1": true}

func regionQuota(region string) shipper.Quota {
	if largeRegions[region] {
		return shipper.Quota{Bytes: 5 << 20, Records: 500_000, Requests: 2000}
	}
	return shipper.Quota{Bytes: 1 << 20, Records: 100_000, Requests: 1000}
}
