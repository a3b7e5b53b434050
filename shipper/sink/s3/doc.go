// Package s3 delivers to objects of Amazon S3, or of a service with its interface.
//
// # Contract
//
// An object holds the events of one range, in the order of their offsets (jsonl), or sorted by key and offset in each row
// group (parquet). Its key is PREFIX, STREAM-LOGID-FIRSTOFFSET and the extension. LOGID is the ID of the log's latest branch,
// which no other copy of the log has. FIRSTOFFSET has 20 digits. The prefix may contain the time of writing, in UTC, so late
// events are under the time of writing. A row has the event's own time.
//
// An event is in one object, also after a crash at any time, and an object is never changed. commit.go has the proof. It
// requires that the service implements If-None-Match for PutObject and CompleteMultipartUpload. With a service that ignores
// the header the promise holds as long as a range has the same end when it is written again, which a crash does not change.
//
// Metadata of an object: standpipe-attempt identifies the attempt to write the range, standpipe-first is the first offset, and
// standpipe-last, except for multipart uploads, the last one.
//
// Events go through the encoder into a buffer, and from there into parts of a multipart upload while the range is under
// way. A smaller object is one PutObject. Unfinished uploads of this stream and log under the prefix are aborted at the
// start.
//
// # Assumptions
//
//   - No other writer uses keys with this log's ID.
//   - Reads after writes are consistent, as S3's are since 2020.
//
// # Limits
//
//   - The memory is a part, twice the largest event, and the encoder. For parquet it is also a row group, and for a moment the
//     compressed row group beside it.
//   - An object is at most 10,000 parts. It exceeds the roll size by at most one event and one block of the compressor.
//   - A parquet column of strings takes UTF-8 only. Other events are dead letters.
//   - If the response to the creation of an upload is lost, an upload without parts remains until the next start.
//   - Under a crash an unfinished upload may remain that is never completed. If the prefix was changed since, no start
//     finds it: buckets should have a lifecycle rule for incomplete uploads.
//   - After a change of bucket, a range with an unknown outcome is looked up in the old bucket. After a change of endpoint
//     it is not: such a range may be in the old and in the new place.
//
// # Permissions
//
// s3:PutObject, s3:GetObject, s3:AbortMultipartUpload on the objects; s3:ListBucket, s3:ListBucketMultipartUploads on the
// bucket; s3:PutObjectTagging with tags; kms:GenerateDataKey and kms:Decrypt on the key, with KMSKeyID. Without s3:ListBucket
// a missing object looks like a forbidden one, and the range is written again. Without s3:ListBucketMultipartUploads
// unfinished uploads remain.
package s3
