// Package kafka delivers a stream to a topic of Apache Kafka, with the connections of franz-go.
//
// An event is a record: its key, its data as the value, its time as the timestamp, each of its attributes as a header, and
// its ID as the header standpipe-id, in the form that an envelope has. The partition of a key is that of Kafka's default
// partitioner. Topics are never created.
//
// # Contract
//
//   - Sink stores each event at least once, and Exact exactly once for consumers that read committed records.
//   - The records of a key are stored in the order of their offsets. If a record is not stored, no later record of its key
//     in the same Send is.
//   - acks = all, from an idempotent producer: a batch whose response is lost is sent again and stored once.
//   - An agent whose log was taken over by another one is fenced, reports that, and does not take it back.
//
// # The producer
//
// The package makes record batches and Produce requests itself; franz-go has the connections, logins, versions and
// lookups of coordinators. The producer of franz-go (1.22.3) goes on with the next batch of a partition after a broker
// rejected one for good, so a later record of a key could be stored before an earlier one. Here a partition has one batch
// under way, and a failure ends the batches of the same Send behind it. Batches of one Send are sent together, in one
// request to each broker, with at most two requests to a broker at once.
//
// A batch whose outcome is unknown is sent again with the same sequence number as long as its Send waits. After that, the partition goes on under the next producer epoch, and a broker rejects the old batch if it arrives late.
//
// # Exactly once
//
// A range of events is a transaction. The brokers keep the checkpoint in it: the offset behind the range, committed for
// partition 0 of the topic under a consumer group that has the name of the transactional ID and no members. The
// transactional ID is "standpipe/LOG/STREAM/DESTINATION", where LOG is the beginning of the events' IDs. A copy of a log
// has another beginning for the events that are appended to it, so the copy fences the original only while it delivers
// events that both have. After a crash the agent takes the ID, which ends the open transaction, and reads the checkpoint.
//
// # Limits
//
// Kafka 2.5 or later (November 2026). A record with its key and headers must fit max.message.bytes of the topic, which is
// read where DescribeConfigs is allowed. Without it the brokers' default of 1,048,588 bytes is assumed; a batch that is
// rejected for its size is made smaller, and a single record becomes a dead letter. A topic that gets more partitions
// moves keys, as with every producer. A checkpoint expires after offsets.retention.minutes without a range (a
// week by default). Only an agent that crashed before the log had noted its last range needs it.
// A broker drops the sequence of a producer whose last record is older than producer.id.expiration.ms (a day by default),
// by the record's own time. So at_least_once may store a batch of old events twice if the brokers restart while it is under
// way. A broker that starts while the end of a transaction is requested may leave partitions with one replica, or the
// checkpoint, out of that end (seen with 4.3.1). The sink ends them again, also after the agent was killed: for that it needs
// Read on the topic, and Kafka 3.0. If the agent is killed once more between two requests of the repair of a checkpoint, the
// range may be there twice, or how it ended is not known any more and the destination needs an operator.
// Consumers that read committed records see a range when its transaction ends: after MaxDelay at most.
package kafka
