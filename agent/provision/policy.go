package provision

import (
	"slices"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/iam"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// Policy returns the IAM policy of a caller of Read and Apply: the rights for the resources of the configuration. An empty account,
// and a region that is not in the file, is any.
func Policy(conf *config.Config, account string) (iam.Document, error) {
	if account == "" {
		account = "*"
	}
	set, err := wanted.From(conf, wanted.Options{Patterns: true, At: func(p wanted.Place) (wanted.Place, error) {
		if p.Region == "" {
			p.Region = "*"
		}
		p.Account = account
		return p, nil
	}})
	if err != nil || set.Empty() {
		return iam.Document{}, err
	}
	var streams, buckets, roles, deliveries, alarms []string
	for _, s := range set.Streams {
		streams = append(streams, s.ARN())
	}
	for _, b := range set.Buckets {
		buckets = append(buckets, b.ARN())
	}
	for _, d := range set.Deliveries {
		roles, deliveries = append(roles, d.RoleARN()), append(deliveries, d.ARN("firehose", "deliverystream/"+d.Name))
	}
	for _, a := range set.Alarms {
		alarms = append(alarms, a.ARN("cloudwatch", "alarm:"+a.Name))
	}
	doc := iam.Document{Version: iam.Version}
	add := func(sid string, on []string, actions ...string) {
		if len(on) == 0 {
			return
		}
		doc.Statement = append(doc.Statement, iam.Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: on})
	}
	for _, list := range []*[]string{&streams, &buckets, &roles, &deliveries, &alarms} { // resources of two profiles may have one ARN
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	add("Streams", streams, "kinesis:AddTagsToStream", "kinesis:CreateStream", "kinesis:DescribeStreamSummary", "kinesis:ListTagsForStream", "kinesis:StartStreamEncryption")
	add("Buckets", buckets, "s3:CreateBucket", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration",
		"s3:ListBucket", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:TagResource")
	add("Roles", roles, "iam:CreateRole", "iam:GetRole", "iam:GetRolePolicy", "iam:PutRolePolicy", "iam:TagRole")
	if len(roles) > 0 {
		doc.Statement = append(doc.Statement, iam.Statement{Sid: "PassRoles", Effect: "Allow", Action: []string{"iam:PassRole"}, Resource: roles,
			Condition: map[string]map[string]string{"StringEquals": {"iam:PassedToService": "firehose.amazonaws.com"}}})
	}
	add("Deliveries", deliveries, "firehose:CreateDeliveryStream", "firehose:DescribeDeliveryStream")
	add("Alarms", alarms, "cloudwatch:PutMetricAlarm")
	// these know no resources
	any := []string{"cloudwatch:DescribeAlarms"}
	if len(streams) > 0 {
		any = append(any, "kinesis:DescribeLimits")
	}
	if len(deliveries) > 0 {
		any = append(any, "firehose:ListDeliveryStreams", "iam:GetAccountSummary", "servicequotas:GetAWSDefaultServiceQuota", "servicequotas:GetServiceQuota")
	}
	add("Quotas", []string{"*"}, any...)
	return doc, nil
}
