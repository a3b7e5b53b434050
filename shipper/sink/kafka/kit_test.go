package kafka_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// stopBroker ends the real broker, where the tests have one.
var stopBroker func()

func TestMain(m *testing.M) { testkit.RunTests(m, "sink/kafka", stopBroker) }

// fake is a cluster in this process, with one topic.
type fake struct {
	*kfake.Cluster
	t *testing.T
}

const topicName = "orders"

func startFake(t *testing.T, partitions int32, opts ...kfake.Opt) *fake {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.SeedTopics(partitions, topicName)}, opts...)...)
	testkit.Must(t, err)
	t.Cleanup(c.Close)
	return &fake{c, t}
}

func (f *fake) options() kafka.Options {
	return kafka.Options{Brokers: f.ListenAddrs(), Topic: topicName, Stream: "clicks", Branches: []wal.Branch{{First: 1, ID: "LOG"}}, Timeout: 10 * time.Second}
}

func (f *fake) open(change ...func(*kafka.Options)) *kafka.Sink {
	f.t.Helper()
	o := f.options()
	for _, c := range change {
		c(&o)
	}
	s, err := kafka.New(f.t.Context(), o)
	testkit.Must(f.t, err)
	f.t.Cleanup(func() { testkit.Must(f.t, s.Close()) })
	return s
}

// records returns the committed records of the topic by partition and offset.
func (f *fake) records() []*kgo.Record {
	f.t.Helper()
	return consume(f.t, f.ListenAddrs(), topicName)
}

// consume reads the committed records of a topic, up to its present end.
func consume(t *testing.T, brokers []string, topic string) (all []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	testkit.Must(t, err)
	defer client.Close()
	left := ends(ctx, t, client, topic)
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		for _, e := range fetched.Errors() {
			t.Fatal(e.Err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
		fetched.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 && p.Records[n-1].Offset+1 >= left[p.Partition] {
				delete(left, p.Partition)
			}
		})
	}
	slices.SortStableFunc(all, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return all
}

// ends returns the ends of the partitions that have committed records.
func ends(ctx context.Context, t *testing.T, client *kgo.Client, topic string) map[int32]int64 {
	t.Helper()
	meta := kmsg.NewPtrMetadataRequest()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = &topic
	meta.Topics = append(meta.Topics, wanted)
	found, err := meta.RequestWith(ctx, client)
	testkit.Must(t, err)
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = 1
	in := kmsg.NewListOffsetsRequestTopic()
	in.Topic = topic
	for _, p := range found.Topics[0].Partitions {
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp = p.Partition, -1
		in.Partitions = append(in.Partitions, one)
	}
	req.Topics = append(req.Topics, in)
	resp, err := req.RequestWith(ctx, client)
	testkit.Must(t, err)
	left := make(map[int32]int64)
	for _, p := range resp.Topics[0].Partitions {
		if p.Offset > 0 {
			left[p.Partition] = p.Offset
		}
	}
	return left
}

// idOffset returns the offset in a record's standpipe-id.
func idOffset(t *testing.T, r *kgo.Record) uint64 {
	t.Helper()
	for _, h := range r.Headers {
		if h.Key == "standpipe-id" {
			id := string(h.Value)
			n, err := strconv.ParseUint(id[strings.LastIndexByte(id, '/')+1:], 10, 64)
			testkit.Must(t, err)
			return n
		}
	}
	t.Fatalf("record %q has no standpipe-id", fmt.Sprint(r.Headers))
	return 0
}

// client returns a client of the cluster.
func (f *fake) client(opts ...kgo.Opt) *kgo.Client {
	f.t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(f.ListenAddrs()...))...)
	testkit.Must(f.t, err)
	f.t.Cleanup(c.Close)
	return c
}
