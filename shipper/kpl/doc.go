// Package kpl writes and reads the aggregated record format of Amazon's Kinesis Producer Library:
// several payloads in one Kinesis record, which the official consumer libraries take apart again.
//
// # The bytes
//
//	0        4                                        n-16      n
//	+--------+----------------------------------------+---------+
//	| F3 89  | AggregatedRecord (proto2)              | MD5 of  |
//	| 9A C2  |                                        | message |
//	+--------+----------------------------------------+---------+
//
//	0A len key               partition_key_table, once a key: the partition key
//	1A len                   records, once a payload:
//	   08 index                partition_key_index, from 0
//	   1A len payload          data
//
// # Contract
//
//   - A record of one partition key goes out under that very key, so in any shard all of
//     its payloads hash into that shard's range. (The official consumer library discards a record, without
//     a word and whole, when one of its payloads hashes outside the shard that it was read from.) One of several keys is for
//     the caller who knows that they lie in one shard and looks where the record went.
//   - A lone payload goes out as it is, without the format around it, unless it begins with the
//     format's magic itself: then it is wrapped, so that no consumer mistakes it for an aggregate.
//   - A Sizer returns the encoded size to the byte before anything is encoded.
//   - Append allocates only when dst has too little room.
//
// # Assumptions
//
// Consumers take records apart that begin with the magic and end with the right MD5; others they hand on as they are.
// Amazon Data Firehose does so only if a Kinesis stream is its source: records that are put to Firehose directly must
// never have this format (Amazon Data Firehose Developer Guide, "Use Kinesis Producer Library with Firehose",
// November 2026).
//
// The format is documented in the Kinesis Producer Library's repository, aggregation-format.md.
// Explicit hash keys and tags, which that page also knows, are read past and never written.
package kpl
