package odd

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// regions are the regions of AWS: the endpoints of the SDK for Go, November 2026.
var regions = strings.Fields(`
	af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1 ap-southeast-2
	ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1 cn-north-1 cn-northwest-1
	eu-central-1 eu-central-2 eu-isoe-west-1 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 eusc-de-east-1
	il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 us-gov-east-1 us-gov-west-1 us-iso-east-1
	us-iso-west-1 us-isob-east-1 us-isob-west-1 us-isof-east-1 us-isof-south-1 us-west-1 us-west-2`)

// Region returns the warning for a region that AWS does not have, or "".
func Region(s string) string {
	if slices.Contains(regions, s) {
		return ""
	}
	instead := `a region is like "eu-west-1"`
	if near, ok := schema.Nearest(s, regions); ok {
		instead = fmt.Sprintf("did you mean %q?", near)
	}
	return "is not a known region of AWS; " + instead
}

var namedRegion = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9]+:([a-z0-9-]+):|^https?://sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|api\.aws)`)

// RegionIn returns the region that an ARN or the URL of a queue names, or "".
func RegionIn(s string) string {
	parts := namedRegion.FindStringSubmatch(s)
	if parts == nil {
		return ""
	}
	return parts[1] + parts[2]
}
