package kinesis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
)

const half = "170141183460469231731687303715884105728" // 2^127

func TestShards_AreTheOpenOnesOfAllPages(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetShards(fakeaws.Shard{ID: "old", First: "0", Closed: true}, fakeaws.Shard{ID: "high", First: half}, fakeaws.Shard{ID: "low", First: "0"})
	m, err := open(t, srv).ListShards(t.Context(), types.ShardFilterTypeAtLatest)
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

func TestShards_WithoutASoundRangeAreNoMap(t *testing.T) {
	srv := fakeaws.Start(t)
	for _, first := range []string{"", "-1", "x", "340282366920938463463374607431768211456"} {
		srv.SetShards(fakeaws.Shard{ID: "s", First: first})
		if m, err := open(t, srv).ListShards(t.Context(), types.ShardFilterTypeAtLatest); err == nil {
			t.Errorf("%q: got %d shards, want an error", first, m.Len())
		}
	}
}

// A record that was stored in another shard than the one in the map shows a reshard, and the shards are listed again.
func TestReshard_IsNoticedByWhereARecordLies(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetShards(fakeaws.Shard{ID: "before", First: "0"})
	k := openWith(t, srv, kinesis.Options{CheckKeys: time.Hour, ShardsAgain: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		k.Follow(ctx)
	}()
	known := func(id string) bool { m := k.Shards(); return m != nil && m.Shard(0).ID == id }
	wait(t, func() bool { return known("before") })
	srv.SetShards(fakeaws.Shard{ID: "shardId-000000000000", First: "0"})
	if got := k.Send(t.Context(), sinktest.Records(1)); got.Err != nil {
		t.Fatal(got.Err)
	}
	wait(t, func() bool { return known("shardId-000000000000") })
	stop()
	<-followed
	if got := srv.Listed(); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// wait waits until another goroutine has made done true.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, func() error {
		if !done() {
			return errors.New("condition not met")
		}
		return nil
	})
}

func TestQuotas(t *testing.T) {
	elsewhere := sink.AWS{Region: "eu-west-1", Endpoint: "http://127.0.0.1:4567"}
	sovereign := sink.AWS{Region: "eusc-de-east-1", Endpoint: "https://vpce-1.kinesis.eusc-de-east-1.vpce.amazonaws.eu"}
	isolated := sink.AWS{Region: "us-iso-east-1", Endpoint: "https://kinesis.us-iso-east-1.c2s.ic.gov"}
	vpc := sink.AWS{Region: "eu-west-1", Endpoint: "https://vpce-1.kinesis.eu-west-1.vpce.amazonaws.com"}
	shard := shipper.Quota{Bytes: 1_000_000, Records: 1000}
	for _, c := range []struct {
		name      string
		set, want shipper.Quota
		open      func(shipper.Quota) (shipper.Sink, error)
	}{
		{"the default", shipper.Quota{}, shard, at(sink.AWS{Region: "eu-west-1"})},
		{"in a VPC", shipper.Quota{}, shard, at(vpc)},
		{"in the European partition", shipper.Quota{}, shard, at(sovereign)},
		{"in an isolated partition", shipper.Quota{}, shard, at(isolated)},
		{"elsewhere", shipper.Quota{}, shipper.Quota{}, at(elsewhere)},
		{"set", shipper.Quota{Records: 500}, shipper.Quota{Bytes: 1_000_000, Records: 500}, at(sink.AWS{Region: "eu-west-1"})},
		{"elsewhere, set", shipper.Quota{Records: 500}, shipper.Quota{Records: 500}, at(elsewhere)},
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

func at(at sink.AWS) func(shipper.Quota) (shipper.Sink, error) {
	return func(q shipper.Quota) (shipper.Sink, error) {
		return kinesis.New(context.Background(), kinesis.Options{Stream: "s", Quota: q, AWS: at})
	}
}
