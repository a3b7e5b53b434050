// Package sqs delivers to an Amazon SQS queue, standard or FIFO. A message is one event.
//
// # Messages
//
// The body is the event's data, or its envelope. SQS carries text only: the data of a stream with format bytes is sent in
// base64, unless a JSON envelope is around it, and so is a MessagePack envelope. Without an envelope, the message has attributes for all else:
//
//	standpipe-id          the ID of the event, LOG/STREAM/OFFSET, as in an envelope
//	standpipe-key         its partition key
//	standpipe-encoding    base64, if the body is encoded
//	NAME                  each attribute of the event
//	standpipe-attributes  the attributes that SQS does not take as they are, in one JSON object
//
// SQS takes ten attributes. Names with characters other than A-Z a-z 0-9 . _ - and empty values stand in
// standpipe-attributes, and so do the last names in alphabetical order if there are more than ten. Nothing is left out.
//
// # Order
//
// A batch holds one message of a key, because a failed entry of a batch does not stop the later ones. The next message of
// the key follows when the previous one was acknowledged. A FIFO queue then keeps the order of a key: its message group is a
// hash of the key. A standard queue may deliver messages in another order, and more than once.
//
// # Exactly once
//
// The deduplication ID of a message is the event's ID. A FIFO queue drops messages that are sent again within five minutes,
// so a crash or a lost response causes no duplicates. That window is the service's limit: an agent that was off for longer
// after a request without a response may send the events of that request again. Consumers recognise them by
// standpipe-id.
//
// # Rejected events
//
// An event becomes a dead letter if its body is empty, is no valid UTF-8, or has a character that SQS does not take, and if
// it is larger than the queue allows. Allowed are U+0009, U+000A, U+000D, and U+0020 to U+10FFFF without surrogates, U+FFFE
// and U+FFFF.
//
// # Limits
//
//	10 messages a request
//	1 MiB a message and a request    with names, types and values of the attributes; or the queue's MaximumMessageSize,
//	                                 which Learn and Follow read every five minutes
//	billed per request               in steps of 64 KiB
//
// Sources: "Amazon SQS message quotas" in the SQS Developer Guide, and the API Reference of SendMessageBatch, November 2026.
package sqs
