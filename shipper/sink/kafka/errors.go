package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// errBadResponse is a response that no broker gives.
var errBadResponse = errors.New("bad response")

// credentialsError: the credentials for a login cannot be had.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// remedies has the errors that an operator ends, each with its remedy.
var remedies = map[*kerr.Error]string{
	kerr.UnknownTopicOrPartition:            "the topic does not exist, or may not be seen: create it, or allow Describe on it",
	kerr.UnknownTopicID:                     "the topic was deleted: create it",
	kerr.InvalidTopicException:              "the brokers take no topic of that name",
	kerr.TopicAuthorizationFailed:           "allow this user Write and Describe on the topic",
	kerr.ClusterAuthorizationFailed:         "allow this user IdempotentWrite on the cluster",
	kerr.GroupAuthorizationFailed:           "allow this user Read and Describe on the group, which holds the checkpoint",
	kerr.TransactionalIDAuthorizationFailed: "allow this user Write and Describe on the transactional ID",
	kerr.SaslAuthenticationFailed:           "the brokers reject the user, the password or the token",
	kerr.UnsupportedSaslMechanism:           "the brokers offer no such login: choose another mechanism",
	kerr.IllegalSaslState:                   "the brokers expect another login: check sasl, and the port",
	kerr.UnsupportedVersion:                 "the brokers are too old: Kafka 2.5 is needed",
	kerr.UnsupportedForMessageFormat:        "the topic has an old message format",
	kerr.UnsupportedCompressionType:         "the brokers do not take this compression",
	kerr.InvalidTransactionTimeout:          "the brokers allow no transaction of a minute: raise transaction.max.timeout.ms",
	kerr.PolicyViolation:                    "a policy of the cluster forbids it",
	kerr.SecurityDisabled:                   "the brokers have no login",
	kerr.InvalidRequiredAcks:                "the brokers do not take acks = all",
}

// classify is the one place that decides how an error is handled. An error that a record itself causes is recognized
// before, by poison.
func classify(err error, topic string) *shipper.Error {
	var code *kerr.Error
	var credentials *credentialsError
	var plaintext tls.RecordHeaderError
	var op *net.OpError
	var hanging *hangingError
	var classified *shipper.Error
	switch {
	case errors.As(err, &classified):
		return classified
	case errors.As(err, &hanging):
		return operator(kerr.UnstableOffsetCommit.Message, err.Error())
	case errors.As(err, &credentials):
		return operator(failure.CodeCredentials, err.Error())
	case errors.As(err, &code):
		return classifyCode(code, err, topic)
	case errors.Is(err, errBadResponse):
		return &shipper.Error{Class: shipper.Transient, Code: failure.CodeBadResponse, Text: failure.Shorten(err.Error()), Record: -1}
	case errors.As(err, &plaintext):
		return operator(failure.CodeTLS, "the broker's port is not one for TLS: "+err.Error())
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return operator(failure.CodeTLS, "the broker rejects the TLS connection, perhaps for its client certificate: "+err.Error())
	case errors.Is(err, kgo.ErrClientClosed):
		return &shipper.Error{Class: shipper.Transient, Code: failure.CodeCanceled, Text: "the destination is being closed", Record: -1}
	}
	e := failure.Of(err)
	e.Unreached = false // of one broker
	return e
}

func classifyCode(code *kerr.Error, err error, topic string) *shipper.Error {
	text := code.Description
	if err.Error() != code.Error() { // with the broker's own text
		text = err.Error()
	}
	if remedy, ok := remedies[code]; ok {
		return operator(code.Message, fmt.Sprintf("topic %q: %s (%s)", topic, remedy, text))
	}
	if code == kerr.NotEnoughReplicas || code == kerr.NotEnoughReplicasAfterAppend {
		text = "fewer in-sync replicas than the topic's min.insync.replicas: start the brokers that have the others"
	}
	e := &shipper.Error{Class: shipper.Transient, Code: code.Message, Text: failure.Shorten(fmt.Sprintf("topic %q: %s", topic, text)), Record: -1}
	if code == kerr.ThrottlingQuotaExceeded {
		e.Class = shipper.Throttled
	}
	return e
}

func operator(code, text string) *shipper.Error {
	return &shipper.Error{Class: shipper.Operator, Code: code, Text: failure.Shorten(text), Record: -1}
}

// tooLarge reports whether the broker rejects a batch for its size.
func tooLarge(code *kerr.Error) bool {
	return code == kerr.MessageTooLarge || code == kerr.RecordListTooLarge
}

// badRecord reports whether the broker rejects a batch for the content of one of its records.
func badRecord(code *kerr.Error) bool {
	return code == kerr.InvalidRecord || code == kerr.InvalidTimestamp
}

// notStored reports whether the batch is surely not stored, and another try may succeed soon, perhaps on another broker.
func notStored(code *kerr.Error) bool {
	switch code {
	case kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.ReplicaNotAvailable, kerr.KafkaStorageError,
		kerr.NotEnoughReplicas, kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress:
		return true
	}
	return false
}

// maybeStored reports whether the batch may be stored despite the error.
func maybeStored(code *kerr.Error) bool {
	return code == kerr.RequestTimedOut || code == kerr.NotEnoughReplicasAfterAppend || code == kerr.NetworkException
}

// lostSequence reports whether the broker does not expect the batch: it has lost the producer's state, or the sequence
// has a gap.
func lostSequence(code *kerr.Error) bool {
	return code == kerr.OutOfOrderSequenceNumber || code == kerr.UnknownProducerID || code == kerr.InvalidProducerEpoch ||
		code == kerr.InvalidProducerIDMapping
}

// poison returns the error of a record that the broker rejects for good.
func poison(code *kerr.Error, text string) *shipper.Error {
	if text == "" {
		text = code.Description
	}
	return &shipper.Error{Class: shipper.Poison, Code: code.Message, Text: failure.Shorten(text), Record: -1}
}

// endsTransaction reports whether an error with that code ends a transaction, and perhaps the right to begin another one.
func endsTransaction(code string) bool {
	switch code {
	case kerr.ProducerFenced.Message, kerr.InvalidProducerEpoch.Message, kerr.InvalidTxnState.Message, kerr.InvalidProducerIDMapping.Message,
		kerr.OutOfOrderSequenceNumber.Message, kerr.UnknownProducerID.Message, kerr.TransactionAbortable.Message:
		return true
	}
	return false
}

// neverSent reports whether the request surely did not go out.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// notReady reports whether a coordinator is not ready yet: it ends the previous transaction, or has just moved.
func notReady(err error) bool {
	var code *kerr.Error
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.UnstableOffsetCommit,
		kerr.OperationNotAttempted:
		return true
	}
	return false
}

// isFenced reports whether the brokers gave the transactional ID a new epoch.
func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}
