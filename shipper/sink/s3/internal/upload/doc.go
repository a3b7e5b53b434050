// Package upload sends one object to a bucket of Amazon S3: in one request if it fits into a part, else as a multipart
// upload.
//
// # Contract
//
// An object comes into being only in Commit, in one request with If-None-Match: *. Parts that were uploaded before are no
// object, and cost money until they are aborted. All parts except the last one have the same size, which some services
// require.
//
// # Limits
//
//   - Parts of 5 MiB to 5 GiB, at most 10,000 of them. Source: Amazon S3 User Guide, multipart upload limits, November 2026.
//   - The memory is a part and twice the bytes that are written between two calls of Flush.
package upload
