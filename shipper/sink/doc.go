// Package sink has the destinations: Kinesis and Firehose at AWS, and files on this host. Each
// implements shipper.Sink.
package sink
