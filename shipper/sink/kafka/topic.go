package kafka

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
)

const (
	// metadataAge is the age at which the topic is looked up again, for new partitions and moved leaders.
	metadataAge = 2 * time.Minute
	// knownFor is the time for which a topic that was there before may be missing: a broker that starts does not know all
	// topics at once.
	knownFor = 30 * time.Second
	// brokersDefault is a broker's default of max.message.bytes, in bytes of a batch.
	brokersDefault = 1048588
	// mostBytes is the greatest batch that is made, even if the topic takes greater ones.
	mostBytes = 8 << 20
	// leastBytes is the smallest limit of a batch that is tried.
	leastBytes = 1 << 10

	noLeader = -1
)

// topic caches the leaders and the limit of the topic.
type topic struct {
	client *kgo.Client
	name   string

	mu      sync.Mutex
	leaders []int32   // of each partition, or noLeader; empty: not known yet
	at      time.Time // when leaders were looked up
	seen    time.Time // when the topic was last there
	stale   bool      // a broker is not the leader of its partition any more, or does not answer
	looking chan struct{}
	failure *shipper.Error // of the last look
	limit   int            // bytes of a batch at most
	limitAt time.Time      // when limit was looked up
}

func newTopic(client *kgo.Client, name string) *topic {
	return &topic{client: client, name: name, limit: brokersDefault}
}

// lookup looks the topic up, unless it is known well enough, and returns the leaders of its partitions.
func (t *topic) lookup(ctx context.Context) ([]int32, *shipper.Error) {
	if leaders, fresh := t.current(); fresh {
		return leaders, nil
	}
	t.mu.Lock()
	if t.looking == nil {
		t.looking = make(chan struct{})
		go t.look()
	}
	looking := t.looking
	t.mu.Unlock()

	select {
	case <-looking:
	case <-ctx.Done():
		return nil, classify(ctx.Err(), t.name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure != nil {
		return nil, t.failure
	}
	return t.leaders, nil
}

// current returns the leaders that were found last, or nil, and whether they need no lookup.
func (t *topic) current() (leaders []int32, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leaders, len(t.leaders) > 0 && !t.stale && time.Since(t.at) < metadataAge
}

// expire makes the next lookup send a request.
func (t *topic) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stale = true
}

// look fetches the leaders, and now and then the limit of a batch.
func (t *topic) look() {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	leaders, err := t.fetch(ctx)
	limit := 0
	if err == nil && t.limitIsOld() {
		limit = t.fetchLimit(ctx)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		t.leaders, t.at, t.seen, t.stale, t.failure = leaders, now, now, false, nil
	case err.Code == kerr.UnknownTopicOrPartition.Message && !t.seen.IsZero() && now.Sub(t.seen) < knownFor:
		t.failure = &shipper.Error{Class: shipper.Transient, Code: err.Code, Text: err.Text, Record: -1}
	default:
		t.failure = err
	}
	if limit > 0 {
		t.limit, t.limitAt = limit, now
	}
	close(t.looking)
	t.looking = nil
}

func (t *topic) fetch(ctx context.Context) ([]int32, *shipper.Error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = &t.name
	req.Topics = append(req.Topics, wanted)
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return nil, classify(err, t.name)
	}
	if len(resp.Topics) != 1 {
		return nil, classify(fmt.Errorf("%w: %d topics in the metadata, want 1", errBadResponse, len(resp.Topics)), t.name)
	}
	found := &resp.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return nil, classify(err, t.name)
	}
	leaders := make([]int32, len(found.Partitions))
	for i := range leaders {
		leaders[i] = noLeader
	}
	for _, p := range found.Partitions {
		if p.Partition < 0 || int(p.Partition) >= len(leaders) {
			return nil, classify(fmt.Errorf("%w: partition %d of %d", errBadResponse, p.Partition, len(leaders)), t.name)
		}
		if kerr.ErrorForCode(p.ErrorCode) == nil || p.Leader >= 0 {
			leaders[p.Partition] = p.Leader
		}
	}
	if len(leaders) == 0 {
		return nil, classify(fmt.Errorf("%w: the topic has no partitions", errBadResponse), t.name)
	}
	return leaders, nil
}

// fetchLimit returns max.message.bytes of the topic; 0: it cannot be read, for example because it is not allowed.
func (t *topic) fetchLimit(ctx context.Context) int {
	req := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, t.name, []string{"max.message.bytes"}
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return 0
	}
	for _, r := range resp.Resources {
		for _, c := range r.Configs {
			if n, err := strconv.Atoi(deref(c.Value)); err == nil && c.Name == "max.message.bytes" && n > 0 {
				return n
			}
		}
	}
	return 0
}

func (t *topic) limitIsOld() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.limitAt) >= metadataAge
}

// batchLimit returns the bytes that a batch may have.
func (t *topic) batchLimit() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.limit, mostBytes)
}

// rejected lowers the limit, because a broker took no batch of size bytes.
func (t *topic) rejected(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = max(min(t.limit, size)/2, leastBytes)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
