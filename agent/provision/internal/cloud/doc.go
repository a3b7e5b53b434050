// Package cloud reads and creates the resources of package wanted in AWS.
//
// # Contract
//
// A Resource is created by Create and is usable when Create returns. Nothing that exists is changed or deleted: Read reports how it
// differs. Creating a stream, a bucket or a role takes several requests. The first one sets the tag standpipe:provision to
// "unfinished", and the last one sets it to "finished". So Create goes on where an earlier one was interrupted. Resources of other
// origin, and later changes, stay as they are.
//
// Errors of requests are *Error: they name the resource, the operation and the code of AWS, and a missing right. Errors of waits name
// the last state.
//
// # Limits
//
// A stream or Firehose stream that is not active after 15 minutes is an error, as is a role that Firehose cannot assume after
// 3 minutes: IAM takes seconds to make a new role known.
package cloud
