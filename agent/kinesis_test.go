package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// runKinesis runs an agent with one stream, "s", to a Kinesis stand-in.
func runKinesis(t *testing.T, srv *fakeaws.Server, settings string) (*agent.Agent, standpipev1.IngestClient) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFAKE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	conf := parse(t, t.TempDir(), fmt.Sprintf(`
stream "s" {
  format         = "text"
  max_event_size = "8MiB"
  destination "kinesis" "live" {
    stream   = "s"
    region   = "eu-west-1"
    endpoint = %q
    %s
    batch { max_delay = "10ms" }
    retry { max = "50ms" }
  }
}`, srv.URL(), settings))
	a := run(t, conf)
	return a, dial(t, conf)
}

// appendOf appends an event of so many bytes and returns the answer's code.
func appendOf(t *testing.T, client standpipev1.IngestClient, bytes int) codes.Code {
	t.Helper()
	r := &standpipev1.AppendRequest{Stream: "s", Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte(strings.Repeat("x", bytes))}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := client.Append(ctx, r)
	return status.Code(err)
}

func TestSizeLimit_FollowsRecordSizeOfTheKinesisStream(t *testing.T) {
	for _, order := range []string{"key", "strict", "none"} {
		t.Run(order, func(t *testing.T) {
			srv := fakeaws.Start(t)
			srv.SetMaxRecord(4 << 20)
			a, client := runKinesis(t, srv, fmt.Sprintf("order = %q", order))
			until(t, "an event of 3 MiB is taken", func() bool { return appendOf(t, client, 3<<20) == codes.OK })
			until(t, "it is delivered", func() bool { return destination(t, a, "s", "live").Delivered.Events == 1 })

			srv.SetMaxRecord(1 << 20)
			if got := appendOf(t, client, 3<<20); got != codes.OK {
				t.Fatalf("before the lower limit is known: got %v", got)
			}
			until(t, "it is a dead letter", func() bool { return destination(t, a, "s", "live").Dead.Events == 1 })
			appendOf(t, client, 100)
			until(t, "the small one is delivered", func() bool { return destination(t, a, "s", "live").Delivered.Events == 2 })
			if got := appendOf(t, client, 3<<20); got != codes.InvalidArgument {
				t.Errorf("after the lower limit is known: got %v, want InvalidArgument", got)
			}
		})
	}
}

func TestKinesis_StreamWithoutKeysNeedsNoOrder(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.IgnoreKeys(true)
	srv.AnyOrder()
	a, client := runKinesis(t, srv, "")
	send(t, client, "s", 3)
	until(t, "it is blocked and says what to set", func() bool {
		d := destination(t, a, "s", "live")
		return d.State == admin.Blocked && strings.Contains(d.LastError, `order = "none"`)
	})

	b, other := runKinesis(t, srv, `order = "none"`)
	send(t, other, "s", 3)
	until(t, "all is delivered", func() bool { return destination(t, b, "s", "live").Delivered.Events == 3 })
	if got := srv.Stored(); got != 3 {
		t.Errorf("got %d records, want an event each", got)
	}
}

// A shard's quota that is set in the file holds at a stand-in too, and the status has the reason of the wait.
func TestQuota_HoldsAndIsInTheStatus(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.SetShards(fakeaws.Shard{ID: "shardId-000000000000", First: "0"})
	a, client := runKinesis(t, srv, `quota { bytes = "1KiB/s" }`)
	until(t, "an event of 3 KiB is taken", func() bool { return appendOf(t, client, 3<<10) == codes.OK })
	until(t, "it is delivered", func() bool { return destination(t, a, "s", "live").Delivered.Events == 1 })
	for range 40 { // two minutes at this pace: a busy machine looks at the status some time after the append
		if got := appendOf(t, client, 3<<10); got != codes.OK {
			t.Fatal(got)
		}
	}
	until(t, "the next waits for the shard's pace", func() bool {
		d := destination(t, a, "s", "live")
		return d.WaitsFor == "paced" && d.Shards == 1 && d.PaceBytes == 1024 && d.State == admin.Running
	})
}
