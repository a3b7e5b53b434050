// Package grpcin is the gRPC listener: standpipe.v1.Ingest, health, reflection, and OTLP where it is configured.
//
// # Contract
//
// Requests are not decoded. The events of an AppendRequest are indexed in the buffers of gRPC, checked, and copied once, as they
// are encoded, into the block of the WAL. A request or an event in an unusual encoding is decoded by package proto and means the
// same. Bytes that are no AppendRequest, and text that is not UTF-8, are INVALID_ARGUMENT.
//
// The caller is admitted after the header and before the body is read; anybody may call health. On an AppendStream the
// requests with a response are always a prefix of the sent requests. One goroutine of a stream receives, checks and submits,
// and another one awaits the outcomes in order and responds, so that many requests share a commit. Drain ends streams after the
// responses of all submitted requests.
//
// # Assumptions
//
// gRPC reads requests into memory as they arrive and has no limit for all of them together. Package h2guard has one, and lists its
// assumptions. The process has one gzip compressor, so the limits on decompression are those of the process.
//
// # Limits
//
// A request has at most max_request_size bytes and 262,144 events. Requests of more than 64 KiB, their events and half-sent
// requests share a budget of 64 MiB, or of four of the largest requests, until the WAL has taken them. Events and attributes
// that package proto decodes are at most 524,288 at a time. A request that exceeds a budget is rejected with UNAVAILABLE. Headers have
// at most 16 KiB. 4,096 requests of a stream may await their responses; receiving stops meanwhile. Two messages are decompressed
// at a time; waiting compressed messages have 64 MiB.
package grpcin
