// Package sink has the destinations: Amazon Kinesis Data Streams, Amazon Data Firehose, and files
// on this host. Each implements shipper.Sink; none retries, paces or remembers anything that the
// shipper owns.
//
// # What is promised
//
//   - What a Reply reports as stored was acknowledged by the service, record by record, or is synced.
//     HTTP 200 is no success: a reply with another number of results than records, a result that
//     names neither what was stored nor why it was not, a count of failures that the results don't
//     show, a reply that is no JSON or is cut off, all read as failures whose outcome is unknown.
//   - One Send is one request. The SDK's own retries are off.
//   - One function, classify, decides how an error is handled. An unknown error goes to an operator
//     (4xx) or is tried again (everything else): a record is rejected for good only by an explicit code of the
//     service, never by a bare status, which may be a proxy's. Texts have no keys or data in them.
//   - A service's Retry-After is the least that its next try waits, up to an hour.
//   - New destinations dial nobody; Learn may be called to ask what the stream takes. An agent starts
//     without a network and without credentials.
//   - Credentials that can't be had, or that the service calls expired or unknown, are looked for anew by the
//     next request, in the shared files as they are then: rotated keys and late files need no restart. A
//     wrong clock costs one request: the SDK takes the time from the service's answers.
//
// # Kinesis: PutRecords
//
//	500 records a request                                    MaxRecordsPerRequest
//	1 MiB a record, its key counted                          unless the stream's MaxRecordSizeInKiB says more, 10 MiB at most
//	5 MiB a request                                          10 MiB since October 2025; we stay with the old
//	                                                         limit, which older services and stand-ins hold to
//	billed in steps of 1 KiB on demand, 25 KiB provisioned   the latter as put units
//
// Sources: the SDK's documentation of PutRecords (service/kinesis v1.56.10, November 2026); "Large
// records" in the Kinesis Data Streams Developer Guide; the service's price page. A batch never has
// two records of one key unless OrderNone says that they may: a failed first and a stored second would
// be out of order.
//
// By shard (ByShard) a record holds events of several keys whose hashes lie in one shard of the map that Follow
// keeps. Without a map records hold one key.
//
// The response names the shard that each record landed in. Where that shard differs from the map's, the map is
// fetched at once, and the shipper sends aggregated records again that lie where no consumer looks for
// them. Where the fresh map does not explain it, the stream may have begun to ignore keys: the next Send queries the
// stream's description first, and until the stream has answered, each event is a record of its own.
//
// In strict order each record goes by PutRecord and names the sequence number of the key's record before,
// as far as this process knows it: the last 16,384 keys. What PutRecord refuses for a shard's sake is the
// record's trouble, as with PutRecords.
//
// Its open shards are listed (ListShards, AT_LATEST) at the start, every few minutes, and at most every ten
// seconds when the stream throttles or has put a record into another shard than its key's: a reshard.
// A quota of 1,000,000 bytes and 1,000 records a second is each shard's, on demand too, where a hot key is
// outside automatic scaling. A Firehose stream's is its region's. Elsewhere than at AWS's endpoints no quota
// is known (quota.go names the sources).
//
// The stream is asked about itself (DescribeStreamSummary) before the first batch, then every few minutes,
// and when a record was refused for its length. No answer changes nothing. A stream whose record
// distribution strategy is AUTO is not shipped to unless the order is none; there every event is a
// record of its own, since a consumer's library discards an aggregated record of which a key does not belong
// to the shard.
//
// # Firehose: PutRecordBatch
//
//	500 records a request
//	1,024,000 bytes a record, its newline counted, before base64
//	500 events a record                                      with more it is silently not taken apart
//	3 MiB a request                                          of 4 MiB: it is not said whether base64 counts
//	billed in steps of 5 KiB a record
//
// Sources: the SDK's documentation of PutRecordBatch (service/firehose v1.52.9, November 2026);
// "Multi record deaggregation" in the Firehose Developer Guide; the service's price page.
//
// Firehose promises no order among records. A key's events are in order inside a record, and its next
// record goes when the one before is acknowledged, so that a failed one is never overtaken: a request
// has one record of a key. With OrderNone it has as many as fit, for few keys with much to send.
// With OneKey a record holds one key's events, for dynamic partitioning that reads the key from the
// record as a whole; it bills a step for each key and request.
//
// # Compression
//
// A compressed record is one gzip member or zstd frame. Firehose that writes to S3 joins records as they are,
// and members or frames in a row are one valid file (RFC 1952, RFC 8878); give its objects a prefix or a
// suffix that says so, since Firehose does not know. Those who must look into a record can not read it:
// a Lambda transformation that does not decompress, format conversion, dynamic partitioning, multi-record
// deaggregation. A Kinesis consumer has to decompress each record itself, so there is no compression with
// FramingKPL. Files on this host are not compressed: after a crash they are cut at lines.
//
// Limits hold before compression too, less some hundred bytes that compressing can add. With compression a
// Firehose record may hold more than 500 events, since nobody takes it apart.
//
// # Files
//
// A file destination writes PATH/YYYY/MM/DD/HH/STREAM-FIRSTOFFSET.jsonl, one line an event, in the order
// of the log; the hour is UTC's at the time of writing. Until it is whole its name ends in .tmp.
//
//	Send ── write, fdatasync ──► reply, with the state that the checkpoint has to carry
//	                                  │
//	           the log commits checkpoint and state in one transaction
//	                                  │
//	Committed ──► a whole file whose every line is covered gets its name
//
// So a finished file has only lines that no crash makes come again. After a crash a file that the
// state names is cut to the size that the state names; one that it does not name was begun after
// the last checkpoint and is removed. Where there is no state at all, or a file begins before the
// checkpoint (its disk was not there at an earlier start), it is kept up to its last whole line. A
// finished file is never overwritten: the next free of -2, -3 … goes before .jsonl.
//
// A failed write is cut back before the next one. After a failed sync the file takes no more lines,
// since a later sync that succeeds proves nothing about the pages that this one lost; what was
// synced before stays, and the batch goes into a new file.
//
// An event counts as delivered when, after the sync, the file's name still leads to the file and the file has the
// length that it should have. When another process has removed, moved, replaced or cut it (logrotate's copytruncate),
// File logs that once; events that were not counted yet go into a new file, and counted events stay where the change
// left them. File checks the same when the file is whole, and when it gets its name.
//
// The state names the path. After a crash and a change of the path, or of the destination's type, the unfinished
// files are cut and finished where they are; when that can't be done, the agent logs their path.
//
// Files have the mode 0644 and folders 0755, less the umask, or FileMode and the mode derived from it (0640: 0750), from
// their creation on.
//
// Assumed: one sink at a time writes a stream's files under one path, and no other's path lies within it; fdatasync and
// a directory's fsync reach the disk. A start reads the names in the tree under PATH, some hundred thousand a second.
package sink
