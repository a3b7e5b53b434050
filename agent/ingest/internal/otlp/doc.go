// Package otlp stores the logs of OpenTelemetry. It decodes ExportLogsServiceRequest messages, makes an event of each
// record and encodes the response. The transports, gRPC and HTTP, are packages of their own.
//
// # Contract
//
// A record becomes one event: a whole OTLP/JSON document with the resource and the scope of the record, on one line. The
// partition key is an attribute of the record or of its resource. The event's time is that of the record, else the time at which
// it was observed, else now.
//
// Records that break a rule are omitted and counted in partial_success, because an SDK drops all records of a rejected request.
// The other records are stored together or not at all. A request is rejected if all its records break a rule.
//
// A rejection that may be retried carries a retry delay: an SDK retries after RESOURCE_EXHAUSTED only with one.
//
// # Assumptions
//
// The encodings are those of the OTLP specification 1.9: protobuf, and protobuf's JSON with the IDs of traces and spans in hex
// and with numeric enums.
//
// # Limits
//
// The requests that a listener decodes at a time have at most 524,288 records, attributes and values together. They are counted
// before they are decoded, because an empty record takes two bytes on the wire and two hundred in memory. The events of
// a request have at most twice max_request_size.
package otlp
