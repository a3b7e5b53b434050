// Package sink and the folders below it are the destinations: one package a destination, each with a type Sink that
// implements shipper.Sink. This package has the parts of their options that several of them share.
//
//	kinesis   Amazon Kinesis Data Streams
//	firehose  Amazon Data Firehose
//	kafka     a topic of Apache Kafka
//	sqs       Amazon SQS
//	file      files on this host
//	relay     another standpipe
//	s3        objects of Amazon S3, or a service with its interface: a ranged.Sink
//	discard   nothing: for benchmarks
//
// # Contract
//
// Every sink keeps these promises. The shipper depends on them, and owns retries, pacing and order among batches.
//
//   - One Send is one request. A sink does not retry.
//   - A record that a Response reports as stored is stored: the service acknowledged this record by itself, or it is
//     synced. A response that is malformed, cut off or inconsistent is a failure whose outcome is unknown.
//   - One function of a package decides how an error is handled. An unknown error is retried, or kept for the operator
//     (4xx). A record becomes a dead letter only by an explicit code of the service, never by a bare status, which may
//     come from a proxy.
//   - The text of an error is short and has no keys or data in it.
//   - Building a sink opens no connection: an agent starts without a network and without credentials.
//   - No Send waits longer than its context.
//
// # How to add a destination
//
//  1. A package below this one with Options, New (or Open, if it starts goroutines or opens files), and Sink. The method
//     Shape of Options returns the limits of a record and a batch: the shipper never sends more.
//  2. Optional interfaces: shipper.Keeper for a state that is committed with the checkpoint, shipper.Sharded for a
//     destination that has shards. The agent runs the methods Learn and Follow of package kinesis beside the shipper.
//  3. Errors: one function that maps the codes of the service to the classes of shipper.Error. For errors without a
//     response, use internal/failure; for services of AWS, internal/awsclient.
//  4. A fake of the service below test, with one-shot faults, and a test that runs sinktest.Run on it.
//  5. A doc.go with the limits of the service, their source and their date.
//  6. In package agent: the options from the configuration, the constructor and the shape.
package sink
