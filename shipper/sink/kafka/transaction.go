package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// transactionTimeout is the time after which the brokers abort a transaction that is not ended. Consumers that read
	// only committed records wait for it if the agent does not come back.
	transactionTimeout = time.Minute
	// coordinatorPause is the pause before a request is repeated while the brokers end the previous transaction.
	coordinatorPause = 5 * time.Millisecond
	maxPause         = 200 * time.Millisecond
	// unstableFor is the time after which a checkpoint that has no end counts as hanging. The brokers have ended the
	// transaction before.
	unstableFor = 2 * time.Second
)

// owner is the right to use a transactional ID: a producer ID with an epoch. The brokers give the next owner a greater
// epoch, and reject every request of the previous one.
type owner struct {
	id       string // the transactional ID, and the group that has the checkpoint
	producer int64
	epoch    int16
}

// transaction is the transaction of an owner. Ranges use it one after the other.
type transaction struct {
	owner
	client    *kgo.Client
	topic     string
	restarts  *restarts
	describes bool // the brokers know DescribeTransactions

	mu       sync.Mutex
	included map[int32]bool // partitions that are part of it

	doubtful bool // brokers may have started after its end was requested
}

// acquire takes the right to use a transactional ID, and ends the transaction that is open under it. If the ID has an
// owner that is not before, it is fenced. before is the right that this sink had; nil: none. If another one has taken it
// since, the error is PRODUCER_FENCED.
func acquire(ctx context.Context, client *kgo.Client, id string, timeout time.Duration, before *owner) (got owner, err error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = int32(timeout.Milliseconds())
	if before != nil {
		req.ProducerID, req.ProducerEpoch = before.producer, before.epoch
	}
	err = untilReady(ctx, func() error {
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		got = owner{id, resp.ProducerID, resp.ProducerEpoch}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
	return got, err
}

// untilReady calls f until it returns another error than that the brokers are not ready yet, or ctx ends.
func untilReady(ctx context.Context, f func() error) error {
	for pause := coordinatorPause; ; pause = min(2*pause, maxPause) {
		err := f()
		if !notReady(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// checkpoint is the part of a transaction beside its records.
type checkpoint struct {
	next  uint64 // every event below is stored; 0: there is no checkpoint
	agent string // that stored it; see Exact
}

// committed returns the last checkpoint of the group id. stable: it waits for an open transaction that has one.
func committed(ctx context.Context, client *kgo.Client, id, topic string, stable bool) (found checkpoint, err error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = id
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = topic, []int32{checkpointPartition}
	group.Topics = append(group.Topics, t)
	req.Groups = append(req.Groups, group)
	old := kmsg.NewOffsetFetchRequestTopic() // the same for brokers before 3.0
	old.Topic, old.Partitions = topic, []int32{checkpointPartition}
	req.Group, req.Topics = id, append(req.Topics, old)

	err = untilReady(ctx, func() error {
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		found, err = checkpointIn(resp)
		return err
	})
	return found, err
}

// checkpointPartition is the partition of the topic for which the checkpoint is committed.
const checkpointPartition = 0

func checkpointIn(resp *kmsg.OffsetFetchResponse) (found checkpoint, err error) {
	take := func(offset int64, metadata *string, code int16) {
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if err == kerr.GroupIDNotFound { // nothing was committed yet
			err = nil
		}
		if offset > 0 {
			found = checkpoint{uint64(offset), deref(metadata)}
		}
	}
	take(0, nil, resp.ErrorCode)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			take(p.Offset, p.Metadata, p.ErrorCode)
		}
	}
	for _, g := range resp.Groups {
		take(0, nil, g.ErrorCode)
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				take(p.Offset, p.Metadata, p.ErrorCode)
			}
		}
	}
	return found, err
}

// include makes partitions part of the transaction, which begins with the first one.
func (t *transaction) include(ctx context.Context, topic string, parts []*partition) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var more []int32
	for _, part := range parts {
		if !t.included[part.id] {
			more = append(more, part.id)
		}
	}
	if len(more) == 0 {
		return nil
	}
	if err := t.addPartitions(ctx, topic, more); err != nil {
		return err
	}
	for _, id := range more {
		t.included[id] = true
	}
	return nil
}

func (t *transaction) addPartitions(ctx context.Context, topic string, partitions []int32) error {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = t.id, t.producer, t.epoch
	in := kmsg.NewAddPartitionsToTxnRequestTopic()
	in.Topic, in.Partitions = topic, partitions
	req.Topics = append(req.Topics, in)
	return untilReady(ctx, func() error {
		resp, err := req.RequestWith(ctx, t.client)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		var skipped error
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err == kerr.OperationNotAttempted {
					skipped = err // because of another partition, whose error follows or came before
				} else if err != nil {
					return err
				}
			}
		}
		return skipped
	})
}

// addGroup makes the group that has the checkpoint part of the transaction.
func (t *transaction) addGroup(ctx context.Context) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = t.id, t.producer, t.epoch, t.id
	return untilReady(ctx, func() error {
		resp, err := req.RequestWith(ctx, t.client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
}

// note makes a checkpoint part of the transaction.
func (t *transaction) note(ctx context.Context, c checkpoint) error {
	if err := t.addGroup(ctx); err != nil {
		return err
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = t.id, t.producer, t.epoch, t.id
	in := kmsg.NewTxnOffsetCommitRequestTopic()
	in.Topic = t.topic
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = checkpointPartition, int64(c.next), &c.agent
	in.Partitions = append(in.Partitions, p)
	commit.Topics = append(commit.Topics, in)
	return untilReady(ctx, func() error {
		resp, err := commit.RequestWith(ctx, t.client)
		if err != nil {
			return err
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// commit ends the transaction, and returns when consumers can read its records. It may be repeated. If brokers may have
// started since the end was requested, it is requested again for the same partitions; see restarts.
func (t *transaction) commit(ctx context.Context) error {
	for {
		before := t.restarts.n.Load()
		err := t.end(ctx, true)
		if err != nil {
			t.doubtful = true
			return err
		}
		if !t.doubtful && t.restarts.n.Load() == before {
			break
		}
		t.doubtful = true
		if err := t.begin(ctx, t.partitions()); err != nil {
			return err
		}
		t.doubtful = false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.included)
	return nil
}

// finish ends an empty transaction of the partitions and the group.
func (t *transaction) finish(ctx context.Context, partitions []int32, commit bool) error {
	if err := t.begin(ctx, partitions); err != nil {
		return err
	}
	return t.end(ctx, commit)
}

// begin begins an empty transaction of the partitions and the group.
func (t *transaction) begin(ctx context.Context, partitions []int32) error {
	if len(partitions) > 0 {
		if err := t.addPartitions(ctx, t.topic, partitions); err != nil {
			return err
		}
	}
	return t.addGroup(ctx)
}

// partitions returns the partitions that are part of the transaction.
func (t *transaction) partitions() []int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.included))
}

// end requests the end of the transaction, and waits until the brokers have ended it in all of its partitions, where that may
// be read.
func (t *transaction) end(ctx context.Context, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = t.id, t.producer, t.epoch, commit
	err := untilReady(ctx, func() error {
		resp, err := req.RequestWith(ctx, t.client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
	if err != nil || !t.describes {
		return err
	}
	_, err = describeEnded(ctx, t.client, t.id)
	return err
}
