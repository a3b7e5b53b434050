// Package kinesis delivers to an Amazon Kinesis data stream.
//
// # Limits
//
//	500 records a request
//	1 MiB a record, its key included              or the stream's MaxRecordSizeInKiB, at most 10 MiB
//	5 MiB a request                               the service takes 10 MiB since October 2025; older services and
//	                                              stand-ins take 5
//	billed in steps of 1 KiB (on demand) or in put units of 25 KiB (provisioned)
//	1,000,000 bytes and 1,000 records a second    each shard's, in either capacity mode
//
// Sources: the SDK's documentation of PutRecords (service/kinesis v1.56.10, November 2026); "Quotas and limits" and
// "Large records" in the Kinesis Data Streams Developer Guide; the service's price page. At endpoints other than AWS's
// no quota is known.
//
// # Order
//
// OrderKey: a request holds one record a key, because a failed first and a stored second record would be out of order.
// OrderNone lifts that. OrderStrict sends each record with PutRecord and names the sequence number of the key's
// previous record, if this process has it (it keeps those of the last 16,384 keys). An error of PutRecord that a shard
// may have caused is reported for the record, as PutRecords does it.
//
// # Shards
//
// Follow lists the open shards (ListShards, AT_LATEST) at the start, then every CheckKeys. It lists them earlier, but at
// most every ShardsAgain, when the stream throttles, which a reshard may cause, or when Send could not fetch the map.
// With ByShard a record holds events of several keys whose hashes lie in one shard of that map; without a map it holds
// one key.
//
// The response names the shard of each record. If it differs from the map's, Send fetches the map at once, and returns
// it with the shards of the records, so the shipper resends aggregated records that lie in shards where consumers
// discard them. If the new map does not explain the shard, the stream may ignore keys: the next Send describes the
// stream first, and until the stream has responded each event is a record of its own.
//
// # Streams that ignore keys
//
// Send describes the stream (DescribeStreamSummary) before the first batch, then every CheckKeys, and after a record was
// rejected for its length. A failed description changes nothing: producers may have no right to describe. A stream whose
// record distribution strategy is AUTO gets no records unless Order is OrderNone. Then each event is a record of its
// own, because a consumer's library discards an aggregated record whole if one of its keys does not belong to the shard.
//
// # Format
//
// PutRecords is in CBOR (application/x-amz-cbor-1.1) where the endpoint takes it: without base64 a request is a quarter
// smaller, and payloads are not copied into a body. Until an endpoint has responded in CBOR, a response that may be a
// rejection of the format makes Send repeat the request in JSON at once; other failures make the next one JSON. Once JSON
// was understood there, the process sends JSON to that endpoint. Endpoints other than AWS's get requests of more than 64 records
// in JSON, since some stand-ins cut long responses in CBOR off. All other requests are in JSON.
//
// # Compression
//
// A compressed record is one gzip member or zstd frame, and each consumer has to decompress it. FramingKPL allows no
// compression: the library takes records apart before a consumer sees them.
package kinesis
