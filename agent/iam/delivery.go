package iam

// DeliveryTrust returns the trust policy of a role that Firehose streams of the account assume.
func DeliveryTrust(account string) Document {
	return Document{Version: Version, Statement: []Statement{{
		Sid: "Firehose", Effect: "Allow", Principal: map[string]string{"Service": "firehose.amazonaws.com"}, Action: []string{"sts:AssumeRole"},
		// without it, a Firehose stream of another account could use the role
		Condition: map[string]map[string]string{"StringEquals": {"aws:SourceAccount": account}},
	}}}
}

// DeliveryPolicy returns the policy of a Firehose stream that writes objects with these prefixes to a bucket, and reads the
// Kinesis stream, unless its ARN is empty.
func DeliveryPolicy(bucketARN string, prefixes []string, streamARN string) Document {
	objects := Statement{Sid: "Objects", Effect: "Allow", Action: []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"}}
	for _, prefix := range prefixes {
		objects.Resource = append(objects.Resource, bucketARN+"/"+prefix+"*")
	}
	doc := Document{Version: Version, Statement: []Statement{
		objects,
		{Sid: "Bucket", Effect: "Allow", Action: []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"}, Resource: []string{bucketARN}},
	}}
	if streamARN != "" {
		doc.Statement = append(doc.Statement, Statement{Sid: "Source", Effect: "Allow",
			Action:   []string{"kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"},
			Resource: []string{streamARN}})
	}
	return doc
}
