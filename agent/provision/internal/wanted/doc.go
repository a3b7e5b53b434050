// Package wanted derives from a configuration the resources that its Kinesis and Firehose destinations need in AWS: streams, buckets,
// roles and alarms, as plain values without a connection to AWS. The commands that create them and that write them as Terraform share it.
//
// # Contract
//
// From returns each resource once, although several destinations may use it. Two destinations that want one resource in two ways
// are an error. Names that need the account's number contain AccountMark until it is known.
package wanted
