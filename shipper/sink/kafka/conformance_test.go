package kafka_test

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

// A failed batch that is not stored is tried once more, so a fault lasts until its Send has ended.
func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		f := startFake(t, 101)
		s := &faulty{Sink: f.open()}
		fail := func(code *kerr.Error) func() {
			return func() { s.fault = f.fail(code, -1) }
		}
		return sinktest.Target{
			Sink: s,
			Stored: func() []byte {
				var all [][]byte
				for _, r := range f.byEvent() {
					all = append(all, r.Value)
				}
				return bytes.Join(all, nil)
			},
			FailRecords: func(indexes ...int) {
				var bad []int32
				for _, i := range indexes {
					bad = append(bad, partitionOfKey(t, sinktest.Records(i + 1)[i].Key, 101))
				}
				s.fault = f.fail(kerr.NotEnoughReplicas, -1, bad...)
			},
			Hang: func(arrived func()) {
				f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
					arrived()
					return nil, nil, true
				})
			},
			Deny:        fail(kerr.TopicAuthorizationFailed),
			FailRequest: []func(){fail(kerr.NotEnoughReplicas), fail(kerr.TopicAuthorizationFailed), fail(kerr.KafkaStorageError), fail(kerr.InvalidTopicException)},
		}
	})
}

// faulty ends a fault with the Send that has it.
type faulty struct {
	*kafka.Sink
	fault *kfake.FaultHandle
}

func (s *faulty) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	r := s.Sink.Send(ctx, batch)
	if s.fault != nil {
		s.fault.Remove()
		s.fault = nil
	}
	return r
}

// fail lets the next n Produce requests fail with that error for those partitions, or for all; -1: all requests.
func (f *fake) fail(code *kerr.Error, n int, partitions ...int32) *kfake.FaultHandle {
	return f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: partitions, Err: code, Count: n})
}

// byEvent returns the committed records by the offsets of their events.
func (f *fake) byEvent() []*kgo.Record {
	all := f.records()
	slices.SortStableFunc(all, func(a, b *kgo.Record) int { return cmp.Compare(idOffset(f.t, a), idOffset(f.t, b)) })
	return all
}

// partitionOfKey returns the partition that franz-go's default partitioner chooses.
func partitionOfKey(t *testing.T, key string, n int) int32 {
	t.Helper()
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(topicName).Partition(&kgo.Record{Key: []byte(key)}, n))
}
