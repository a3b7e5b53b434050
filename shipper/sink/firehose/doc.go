// Package firehose delivers to an Amazon Data Firehose stream that takes records directly (direct PUT).
//
// # Limits
//
//	500 records a request
//	1,024,000 bytes a record, its newline included, before base64
//	500 events a record      Firehose does not take apart a record with more, and reports nothing
//	3 MiB a request          of 4 MiB: the documentation does not say whether base64 counts
//	billed in steps of 5 KiB a record
//
// Sources: the SDK's documentation of PutRecordBatch (service/firehose v1.52.9, November 2026); "Multi record
// deaggregation" and "Quota" in the Firehose Developer Guide; the service's price page.
//
// The quota is the region's, for all producers of the stream together. At endpoints other than AWS's no quota is known.
//
// # Order
//
// Firehose promises no order among records. The events of a key are in order within a record, and a request holds one
// record a key: the key's next record is sent after the previous one was acknowledged, so it never overtakes a failed
// one. With OrderNone a request holds as many records as fit. With OneKey a record holds the events of one key, for
// dynamic partitioning that reads the key from the record as a whole; it bills one step for each key and request.
//
// # Compression
//
// A compressed record is one gzip member or zstd frame. Firehose joins the records that it writes to S3, and a sequence
// of members or frames is one valid file (RFC 1952, RFC 8878). Firehose does not detect the compression: the names of
// its objects need a suffix for it. Everything that looks into a record fails on compressed ones: a Lambda
// transformation that does not decompress, format conversion, dynamic partitioning, multi-record deaggregation. Since a
// compressed record is not taken apart, it may hold more than 500 events. The limits hold before compression too, less
// some hundred bytes that compression can add.
package firehose
