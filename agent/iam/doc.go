// Package iam returns the IAM policy that the destinations of a configuration need: no right that no destination uses, on the
// resources that the configuration names.
//
// # Contract
//
// Policy has one statement for each set of rights. A part of a name that is not in the configuration is *, as the account
// without --account, the region of the SDK's default chain, and ${stream} of a pattern.
//
// # Limits
//
// The package knows the rights of the sinks of this release, and a test compares them with the requests that the sinks send.
// Rights that a service needs elsewhere, as those of a Firehose stream to its bucket, are not among them.
package iam
