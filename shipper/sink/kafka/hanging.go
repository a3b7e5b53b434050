package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that starts with a transaction whose end was requested before takes partitions without a leader for deleted
// ones, and leaves their records, or the checkpoint, without an end (Kafka 4.3.1). They hang: consumers of committed records
// wait, and the end of the next transaction in the partition counts for them too. So it has to be the same.
//
// An agent that lives on ends the transaction again (transaction.commit). An agent that starts looks for hanging records and
// ends them before its first range. The checkpoint decides how: it is read when no transaction is open any more, and the
// records of a range that it covers were committed.

// findCoordinator and the others are keys of requests.
const (
	findCoordinatorKey      = int16(kmsg.FindCoordinator)
	describeProducersKey    = int16(kmsg.DescribeProducers)
	describeTransactionsKey = int16(kmsg.DescribeTransactions)
)

// restarts counts new connections and lookups of coordinators. If there are none between two requests, no broker that
// answered them has started in between, and no coordinator has moved.
type restarts struct{ n atomic.Uint64 }

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (r *restarts) OnBrokerConnect(kgo.BrokerMetadata, time.Duration, net.Conn, error) { r.n.Add(1) }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (r *restarts) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == findCoordinatorKey {
		r.n.Add(1)
	}
}

// ending is how a transaction ended.
type ending uint8

const (
	unknownEnd ending = iota
	committedEnd
	abortedEnd
)

// state is the state of a transactional ID.
type state struct {
	name  string // "": there is none, or it may not be read
	owner owner
}

// isEnding reports whether brokers are still ending the transaction.
func (s state) isEnding() bool {
	return s.name == "PrepareCommit" || s.name == "PrepareAbort" || s.name == "PrepareEpochFence"
}

// describe returns the state of a transactional ID.
func describe(ctx context.Context, client *kgo.Client, id string) (state, error) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	resp, err := req.RequestWith(ctx, client)
	if err == nil && len(resp.TransactionStates) != 1 {
		err = fmt.Errorf("%w: %d transactions, want 1", errBadResponse, len(resp.TransactionStates))
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.TransactionStates[0].ErrorCode)
	}
	switch {
	case errors.Is(err, kerr.TransactionalIDNotFound), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return state{}, nil
	case err != nil:
		return state{}, err
	}
	found := resp.TransactionStates[0]
	return state{found.State, owner{id, found.ProducerID, found.ProducerEpoch}}, nil
}

// describeEnded returns the state of a transactional ID when its brokers are not ending a transaction.
func describeEnded(ctx context.Context, client *kgo.Client, id string) (found state, err error) {
	err = untilReady(ctx, func() error {
		found, err = describe(ctx, client, id)
		if err == nil && found.isEnding() {
			return kerr.ConcurrentTransactions
		}
		return err
	})
	return found, err
}

// canDescribe reports whether the brokers know DescribeTransactions and DescribeProducers, which Kafka has since 3.0.
func (s *Exact) canDescribe(ctx context.Context) (bool, error) {
	if s.describes {
		return true, nil
	}
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, s.client)
	if err != nil {
		return false, err
	}
	found := 0
	for _, k := range resp.ApiKeys {
		if k.ApiKey == describeProducersKey || k.ApiKey == describeTransactionsKey {
			found++
		}
	}
	s.describes = found == 2
	return s.describes, nil
}

// inspect finds out how the last transaction of an ID ended or will end, before the ID is taken: afterwards the brokers do
// not say it any more. A checkpoint that hangs is noted.
//
// If the agent before was killed while it ended hanging records again, their transaction is open. It is committed if they
// are part of a committed range, because the brokers abort it when the ID is taken.
func (s *Exact) inspect(ctx context.Context, id string) error {
	found, err := describeEnded(ctx, s.client, id)
	if err != nil {
		return err
	}
	switch found.name {
	case "Ongoing":
		s.ends[id] = abortedEnd
		last, err := committed(ctx, s.client, id, s.topic.name, false)
		if err != nil {
			return err
		}
		hanging, _, err := s.hanging(ctx, found.owner.producer)
		if err != nil || len(hanging) == 0 {
			return err
		}
		first, err := s.eventAt(ctx, hanging[0], found.owner.producer)
		if err != nil || first == 0 || first >= last.next {
			return err
		}
		return s.transaction(found.owner).end(ctx, true)
	case "CompleteCommit":
		s.ends[id] = committedEnd
	case "CompleteAbort":
		s.ends[id] = abortedEnd
	default:
		return nil
	}
	_, err = s.stable(ctx, id)
	if s.hangs = errors.Is(err, kerr.UnstableOffsetCommit); s.hangs {
		return nil
	}
	return err
}

// stable returns the checkpoint, or UNSTABLE_OFFSET_COMMIT if it hangs.
func (s *Exact) stable(ctx context.Context, id string) (checkpoint, error) {
	for wait := s.unstable; ; wait *= 2 {
		soon, cancel := context.WithTimeout(ctx, wait)
		found, err := committed(soon, s.client, id, s.topic.name, true)
		late := soon.Err() != nil
		cancel()
		if !late || ctx.Err() != nil || errors.Is(err, kerr.UnstableOffsetCommit) {
			return found, err
		}
		// Too little time for one request: nothing is known of the checkpoint yet.
	}
}

// checkpoint reads the checkpoint of an ID that was just taken. A checkpoint that hangs is ended first, as its transaction
// ended.
func (s *Exact) checkpoint(ctx context.Context, txn *transaction) (found checkpoint, err error) {
	if !s.hangs {
		found, err = s.stable(ctx, txn.id)
		if s.hangs = errors.Is(err, kerr.UnstableOffsetCommit) && ctx.Err() == nil; !s.hangs {
			return found, err
		}
	}
	end := s.ends[txn.id]
	if end == unknownEnd {
		return found, &hangingError{txn.id}
	}
	if err := txn.finish(ctx, nil, end == committedEnd); err != nil {
		return found, err
	}
	s.hangs = false
	return committed(ctx, s.client, txn.id, s.topic.name, true)
}

// hangingError: the brokers have left a checkpoint without an end, and how its transaction ended is not known.
type hangingError struct{ id string }

func (e *hangingError) Error() string {
	return fmt.Sprintf("the brokers have not ended a transaction of the group %q, which holds the checkpoint: find out whether its records are in the topic, "+
		"and end it with kafka-transactions.sh", e.id)
}

// endHanging ends the hanging records of the producer, all of which are of its last transaction. If the brokers do not say
// which there are, those of the range that this agent discarded are meant.
func (s *Exact) endHanging(ctx context.Context, txn *transaction, found checkpoint) error {
	var hanging []hangingRecords
	known := false
	if txn.describes {
		var err error
		if hanging, known, err = s.hanging(ctx, txn.producer); err != nil {
			return err
		}
	}
	var partitions []int32
	commit := false
	if last := s.unfinished; !known && last.id == txn.id {
		partitions, commit = last.partitions, found.next >= last.next
	}
	for i, h := range hanging {
		partitions = append(partitions, h.partition)
		if i > 0 {
			continue
		}
		offset, err := s.eventAt(ctx, h, txn.producer)
		if err != nil {
			return err
		}
		commit = offset > 0 && offset < found.next
	}
	if len(partitions) > 0 {
		s.options.Logger.Warn("brokers left a transaction without an end; it is ended", "stream", s.options.Stream, "destination", s.destination,
			"transactional_id", txn.id, "partitions", len(partitions), "commit", commit)
		if err := txn.finish(ctx, partitions, commit); err != nil {
			return err
		}
	}
	s.unfinished = unfinished{}
	return nil
}

// hangingRecords are records of a transaction without an end.
type hangingRecords struct {
	partition int32
	first     int64 // offset in the partition
}

// hanging returns the records of the producer, which has no transaction, that have no end. known is false if that may not
// be read.
func (s *Exact) hanging(ctx context.Context, producer int64) (found []hangingRecords, known bool, err error) {
	leaders, failed := s.topic.lookup(ctx)
	if failed != nil {
		return nil, false, failed
	}
	req := kmsg.NewPtrDescribeProducersRequest()
	in := kmsg.NewDescribeProducersRequestTopic()
	in.Topic = s.topic.name
	for i := range leaders {
		in.Partitions = append(in.Partitions, int32(i))
	}
	req.Topics = append(req.Topics, in)
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return nil, false, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); err {
			case nil:
			case kerr.TopicAuthorizationFailed: // it needs Read
				return nil, false, nil
			default:
				return nil, false, err
			}
			for _, active := range p.ActiveProducers {
				if active.ProducerID == producer && active.CurrentTxnStartOffset >= 0 {
					found = append(found, hangingRecords{p.Partition, active.CurrentTxnStartOffset})
				}
			}
		}
	}
	return found, true, nil
}

// eventAt returns the offset of the event of the first of the records; 0: it is not there any more.
func (s *Exact) eventAt(ctx context.Context, h hangingRecords, producer int64) (uint64, error) {
	leaders, failed := s.topic.lookup(ctx)
	if failed != nil {
		return 0, failed
	}
	if int(h.partition) >= len(leaders) || leaders[h.partition] == noLeader {
		return 0, kerr.LeaderNotAvailable
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, 1<<20 // one batch in any case
	in := kmsg.NewFetchRequestTopic()
	in.Topic = s.topic.name
	one := kmsg.NewFetchRequestTopicPartition()
	one.Partition, one.FetchOffset, one.PartitionMaxBytes = h.partition, h.first, 1<<20
	in.Partitions = append(in.Partitions, one)
	req.Topics = append(req.Topics, in)
	resp, err := s.client.Broker(int(leaders[h.partition])).Request(ctx, req)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.(*kmsg.FetchResponse).Topics {
		for i := range t.Partitions {
			fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: h.first, Topic: s.topic.name, Partition: h.partition},
				&t.Partitions[i], kgo.DefaultDecompressor(), nil)
			switch {
			case errors.Is(fetched.Err, kerr.OffsetOutOfRange):
				return 0, nil
			case fetched.Err != nil:
				s.topic.expire()
				return 0, fetched.Err
			}
			for _, r := range fetched.Records {
				if r.ProducerID == producer {
					return eventOffset(r)
				}
			}
		}
	}
	return 0, nil
}

// eventOffset returns the offset of the event in the record.
func eventOffset(r *kgo.Record) (uint64, error) {
	for _, h := range r.Headers {
		if h.Key == idHeader {
			n, err := strconv.ParseUint(string(h.Value[bytes.LastIndexByte(h.Value, '/')+1:]), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%w: header %s: %w", errBadResponse, idHeader, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: a record without the header %s", errBadResponse, idHeader)
}
