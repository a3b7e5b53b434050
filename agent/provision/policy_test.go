package provision_test

import (
	"slices"
	"testing"

	"github.com/standpipe/standpipe/agent/provision"
)

// Streams of the same name in two accounts have one ARN here, since the account is not known. It is in each statement once.
func TestPolicy_OfTwoProfilesHasEachResourceOnce(t *testing.T) {
	policy, err := provision.Policy(parse(t, `
stream "clicks" {
  destination "firehose" "test" {
    delivery_stream = "clicks"
    aws {
      region  = "eu-west-1"
      profile = "test"
    }
  }
  destination "firehose" "live" {
    delivery_stream = "clicks"
    aws {
      region  = "eu-west-1"
      profile = "live"
    }
  }
}`), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range policy.Statement {
		slices.Sort(s.Resource)
		if slices.Contains(s.Resource, "") || len(slices.Compact(slices.Clone(s.Resource))) != len(s.Resource) {
			t.Errorf("%s: got the resources %q", s.Sid, s.Resource)
		}
	}
}
