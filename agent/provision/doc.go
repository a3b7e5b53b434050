// Package provision creates the AWS resources that the Kinesis and Firehose destinations of a configuration write to: Kinesis streams,
// Firehose streams with their buckets and roles, and CloudWatch alarms. It also writes the same as Terraform.
//
// # Contract
//
// Read compares the configuration with AWS and changes nothing. Apply creates missing resources, in the order of the plan,
// waits until each is usable, and finishes those of an interrupted Apply. Neither changes or deletes a resource that exists: the
// plan lists how it differs. After an error of Apply, a new plan goes on where it ended.
//
// The credentials are those of the SDK's default chain and of the profile of a destination. The role_arn of a destination is for
// shipping, and is not assumed.
//
// # Limits
//
// The targets of kinesis and firehose destinations only. A bucket of an s3 destination, a queue or a topic is not created. The
// streams of a pattern are known by the names in Options only. A quota is checked as far as AWS shows it to the caller; a quota that
// cannot be read is a note of the plan.
package provision
