package sink_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"

	"github.com/standpipe/standpipe/test/fakeaws"
)

const half = "170141183460469231731687303715884105728" // 2^127

func TestShardsAreTheOpenOnesOfAllPages(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetShards(fakeaws.Shard{ID: "old", First: "0", Closed: true}, fakeaws.Shard{ID: "high", First: half}, fakeaws.Shard{ID: "low", First: "0"})
	m, err := openKinesis(t, srv).ListShards(t.Context(), types.ShardFilterTypeAtLatest)
	if err != nil {
		t.Fatal(err)
	}
	if m.Len() != 2 || m.Shard(0).ID != "low" || m.Shard(1).ID != "high" {
		t.Fatalf("got %d shards, the first %q", m.Len(), m.Shard(0).ID)
	}
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		want := 0
		if hash := shipper.HashOf(key); hash[0] >= 0x80 {
			want = 1
		}
		if got := m.Find(key); got != want {
			t.Errorf("key %q: got shard %d, want %d", key, got, want)
		}
	}
}

func TestShardsWithoutASoundRangeAreNoMap(t *testing.T) {
	srv := fakeaws.Start(t)
	for _, first := range []string{"", "-1", "x", "340282366920938463463374607431768211456"} {
		srv.SetShards(fakeaws.Shard{ID: "s", First: first})
		if m, err := openKinesis(t, srv).ListShards(t.Context(), types.ShardFilterTypeAtLatest); err == nil {
			t.Errorf("%q: got %d shards, want an error", first, m.Len())
		}
	}
}

// A record that lies in another shard than the map says shows a reshard; the map is asked for again.
func TestAReshardIsNoticedByWhereARecordLies(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetShards(fakeaws.Shard{ID: "before", First: "0"})
	k := openWith(t, srv, sink.KinesisOptions{CheckKeys: time.Hour, ShardsAgain: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		k.Follow(ctx)
	}()
	known := func(id string) bool { m := k.Shards(); return m != nil && m.Shard(0).ID == id }
	wait(t, func() bool { return known("before") })
	srv.SetShards(fakeaws.Shard{ID: "shardId-000000000000", First: "0"})
	if got := k.Send(t.Context(), records(1)); got.Err != nil {
		t.Fatal(got.Err)
	}
	wait(t, func() bool { return known("shardId-000000000000") })
	stop()
	<-followed
	if got := srv.Listed(); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// wait waits for what another goroutine does.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}

func TestQuotas(t *testing.T) {
	elsewhere := sink.AWSOptions{Region: "eu-west-1", Endpoint: "http://127.0.0.1:4567"}
	sovereign := sink.AWSOptions{Region: "eusc-de-east-1", Endpoint: "https://vpce-1.kinesis.eusc-de-east-1.vpce.amazonaws.eu"}
	isolated := sink.AWSOptions{Region: "us-iso-east-1", Endpoint: "https://kinesis.us-iso-east-1.c2s.ic.gov"}
	vpc := sink.AWSOptions{Region: "eu-west-1", Endpoint: "https://vpce-1.kinesis.eu-west-1.vpce.amazonaws.com"}
	shard := shipper.Quota{Bytes: 1_000_000, Records: 1000}
	large := shipper.Quota{Bytes: 5 << 20, Records: 500_000, Requests: 2000}
	small := shipper.Quota{Bytes: 1 << 20, Records: 100_000, Requests: 1000}
	for _, c := range []struct {
		name      string
		set, want shipper.Quota
		open      func(shipper.Quota) (shipper.Sink, error)
	}{
		{"kinesis", shipper.Quota{}, shard, kinesisAt(sink.AWSOptions{Region: "eu-west-1"})},
		{"kinesis in a VPC", shipper.Quota{}, shard, kinesisAt(vpc)},
		{"kinesis in the European partition", shipper.Quota{}, shard, kinesisAt(sovereign)},
		{"kinesis in an isolated partition", shipper.Quota{}, shard, kinesisAt(isolated)},
		{"kinesis elsewhere", shipper.Quota{}, shipper.Quota{}, kinesisAt(elsewhere)},
		{"kinesis, set", shipper.Quota{Records: 500}, shipper.Quota{Bytes: 1_000_000, Records: 500}, kinesisAt(sink.AWSOptions{Region: "eu-west-1"})},
		{"kinesis elsewhere, set", shipper.Quota{Records: 500}, shipper.Quota{Records: 500}, kinesisAt(elsewhere)},
		{"firehose", shipper.Quota{}, large, firehoseAt(sink.AWSOptions{Region: "eu-west-1"})},
		{"firehose, small region", shipper.Quota{}, small, firehoseAt(sink.AWSOptions{Region: "eu-north-1"})},
		{"firehose elsewhere", shipper.Quota{}, shipper.Quota{}, firehoseAt(elsewhere)},
	} {
		s, err := c.open(c.set)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Shape().Quota; got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		s.Close()
	}
}

func kinesisAt(at sink.AWSOptions) func(shipper.Quota) (shipper.Sink, error) {
	return func(q shipper.Quota) (shipper.Sink, error) {
		return sink.NewKinesis(context.Background(), sink.KinesisOptions{Stream: "s", Quota: q, AWS: at})
	}
}

func firehoseAt(at sink.AWSOptions) func(shipper.Quota) (shipper.Sink, error) {
	return func(q shipper.Quota) (shipper.Sink, error) {
		return sink.NewFirehose(context.Background(), sink.FirehoseOptions{DeliveryStream: "s", Quota: q, AWS: at})
	}
}
