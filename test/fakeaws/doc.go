// Package fakeaws is a stand-in for Kinesis Data Streams and Amazon Data Firehose. Tests drive it through the real
// SDK over a loopback connection.
//
// # Contract
//
// It implements the JSON protocols of PutRecords, PutRecord, PutRecordBatch, DescribeStreamSummary and ListShards, and
// CBOR for PutRecords and PutRecord: a response is in the format of its request. It keeps the stored records in the order of their arrival, and enforces the limits of the services: records and bytes
// of a request, bytes of a record, length of a key.
//
// It fails the test for requests that break the order of a key:
//
//   - two records of one key in one PutRecords request, unless AnyOrder was called: the first may fail and the second
//     be stored;
//   - a PutRecord whose SequenceNumberForOrdering is not the number of the key's last acknowledged record. A number
//     that the stream never issued is rejected.
//
// A fault is one-shot: FailNext queues faults, and each request takes the next one.
//
// # Limits
//
// It implements the documentation as the authors of the tested code read it: a request that it accepts may still be
// rejected by AWS. Every stream that a request names exists. A stream has the shards that SetShards lists, and none
// before; they appear in ListShards only: a record always lands in shardId-000000000000. There is no throughput
// limit, and signatures are not checked.
package fakeaws
