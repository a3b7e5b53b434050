// Package fakeaws is a small stand-in for Kinesis Data Streams and Amazon Data Firehose, for
// tests that drive it through the real SDK over a loopback connection.
//
// It speaks the JSON protocols of PutRecords, PutRecord, PutRecordBatch and DescribeStreamSummary, keeps
// what it stored in the order in which it stored it, and enforces the services' limits: records and bytes
// of a request, bytes of a record, length of a key. Two records of one key in one PutRecords request fail
// the test unless AnyOrder was called: a failed first and a stored second would be out of order. A
// PutRecord whose SequenceNumberForOrdering is not that of its key's last acknowledged record fails
// it too; a number that the stream never gave out is refused.
//
// Faults are one-shot: each FailNext is for one request to come, in order.
//
// It is a reading of the documentation, by the same people who wrote the code that it tests: what
// it accepts is no proof that AWS does. It has no shards, no throughput limits and no signatures,
// and every stream that is named exists.
package fakeaws
