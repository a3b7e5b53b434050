package grpcin_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/wal"
)

func TestAppendStream_RespondsInOrder(t *testing.T) {
	log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Observer: seen})
	s := ingestkit.OpenStream(t, client)
	const n = 10_000
	go ingestkit.SendAll(s, "bytes", 0, n)
	replies, err := ingestkit.ReceiveAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(replies) != n {
		t.Fatalf("got %d replies, want %d", len(replies), n)
	}
	for i, r := range replies {
		if r.FirstOffset != uint64(i+1) || r.Count != 1 || r.Ack != standpipev1.Ack_ACK_DURABLE || r.Duplicate {
			t.Fatalf("reply %d: %v", i, r)
		}
	}
	for i, got := range log.Stored() {
		if want := fmt.Sprint(i); got != want {
			t.Fatalf("event %d: stored %q", i, got)
		}
	}
	if got, _ := seen.Get(); got != n {
		t.Errorf("observed %d appends, want %d", got, n)
	}
}

// TestAppendStream_Fails: the log rejects the k-th request for every k. The requests before it are stored and have responses,
// and the stream ends with its status.
func TestAppendStream_Fails(t *testing.T) {
	const n = 12
	full := &wal.FullError{Used: 10, Max: 11, RetryAfter: 3 * time.Second}
	for k := range n {
		for _, ack := range []standpipev1.Ack{0, standpipev1.Ack_ACK_DURABLE, standpipev1.Ack_ACK_DELIVERED} {
			log := ingestkit.NewLog(t)
			log.Refuse[k] = full
			_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
			s := ingestkit.OpenStream(t, client)
			go ingestkit.SendAll(s, "bytes", ack, n)
			replies, err := ingestkit.ReceiveAll(s)
			checkPrefix(t, replies, log.Stored(), k)
			checkFull(t, err, 3*time.Second)
		}
	}
}

func checkPrefix(t *testing.T, replies []*standpipev1.AppendResponse, stored []string, k int) {
	t.Helper()
	if len(replies) != k {
		t.Errorf("request %d is refused: %d replies", k, len(replies))
	}
	var want []string
	for i := range k {
		want = append(want, fmt.Sprint(i))
	}
	if !slices.Equal(stored, want) {
		t.Errorf("request %d is refused: stored %q, want %q", k, stored, want)
	}
}

func checkFull(t *testing.T, err error, retry time.Duration) {
	t.Helper()
	got := status.Convert(err)
	if want := "the log is full: 10 of 11 bytes in use"; got.Code() != codes.ResourceExhausted || got.Message() != want {
		t.Errorf("got %v %q, want %v %q", got.Code(), got.Message(), codes.ResourceExhausted, want)
	}
	for _, d := range got.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			if info.RetryDelay.AsDuration() != retry {
				t.Errorf("retry delay %v, want %v", info.RetryDelay.AsDuration(), retry)
			}
			return
		}
	}
	t.Error("the status carries no RetryInfo")
}

// TestAppendStream_RejectsAnInvalidRequest is TestAppendStream_Fails with a request that breaks a rule.
func TestAppendStream_RejectsAnInvalidRequest(t *testing.T) {
	const n = 8
	for k := range n {
		log := ingestkit.NewLog(t)
		_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
		s := ingestkit.OpenStream(t, client)
		go func() {
			for i := range n {
				m := ingestkit.Request("bytes", fmt.Sprint(i))
				if i == k {
					m.Events[0].PartitionKey = ""
				}
				if s.Send(m) != nil {
					return
				}
			}
		}()
		replies, err := ingestkit.ReceiveAll(s)
		checkPrefix(t, replies, log.Stored(), k)
		if got, want := status.Code(err), codes.InvalidArgument; got != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// TestAppendStream_FailsWhileOthersGoOn runs many streams at once. Some of them fail.
func TestAppendStream_FailsWhileOthersGoOn(t *testing.T) {
	log := ingestkit.NewLog(t)
	for k := 50; k < 2000; k += 217 {
		log.Refuse[k] = wal.ErrFull
	}
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	var answered sync.Map
	var producers sync.WaitGroup
	for p := range 16 {
		s := ingestkit.OpenStream(t, client)
		producers.Go(func() {
			var sending sync.WaitGroup
			sending.Go(func() {
				for i := range 300 {
					if s.Send(ingestkit.Request("bytes", fmt.Sprintf("%d %d", p, i))) != nil {
						return
					}
				}
				s.CloseSend()
			})
			replies, _ := ingestkit.ReceiveAll(s)
			answered.Store(p, len(replies))
			sending.Wait()
		})
	}
	producers.Wait()
	next := map[int]int{}
	for _, data := range log.Stored() {
		var p, i int
		fmt.Sscan(data, &p, &i)
		if next[p] != i {
			t.Fatalf("producer %d: event %d is stored after %d others", p, i, next[p])
		}
		next[p]++
	}
	answered.Range(func(p, n any) bool {
		if next[p.(int)] != n.(int) {
			t.Errorf("producer %d: %d requests are stored, %d were answered", p, next[p.(int)], n)
		}
		return true
	})
}

func TestAppendStream_OfAcceptedRequestsEndsWithTheirFault(t *testing.T) {
	for _, last := range []standpipev1.Ack{standpipev1.Ack_ACK_ACCEPTED, standpipev1.Ack_ACK_DURABLE} {
		log, seen := ingestkit.NewLog(t), &ingestkit.Counts{}
		log.Refuse[2] = &wal.FullError{Used: 10, Max: 11}
		log.Hold = make(chan struct{})
		server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Observer: seen})
		s := ingestkit.OpenStream(t, client)
		for i := range 4 {
			m := ingestkit.Request("loose", fmt.Sprint(i))
			if i == 3 {
				m.Ack = last
			}
			if err := s.Send(m); err != nil {
				t.Fatal(err)
			}
			if i < 3 {
				r, err := s.Recv()
				if err != nil || r.FirstOffset != 0 || r.Ack != standpipev1.Ack_ACK_ACCEPTED {
					t.Fatalf("got %v, %v; want an accepted request without its offset", r, err)
				}
			}
		}
		s.CloseSend()
		close(log.Hold)
		_, err := ingestkit.ReceiveAll(s)
		checkFull(t, err, time.Second)
		if got, want := log.Stored(), []string{"0", "1"}; !slices.Equal(got, want) {
			t.Errorf("stored %q, want %q", got, want)
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The last request may have been answered as accepted too before the fault showed.
		if _, refused := seen.Get(); refused["loose/full"] != 1 || refused["loose/lost"] < 1 {
			t.Errorf("counted %v, want one lost or two", refused)
		}
	}
}

func TestAppendStream_EndsWhenTheAgentStops(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	s := ingestkit.OpenStream(t, client)
	const n = 100
	for i := range n {
		if err := s.Send(ingestkit.Request("bytes", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	ingestkit.AwaitSubmitted(t, log, n)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Stop(context.Background()) }()
	close(log.Hold)
	replies, err := ingestkit.ReceiveAll(s)
	if len(replies) != n || status.Code(err) != codes.Unavailable {
		t.Errorf("got %d replies and %v, want %d and UNAVAILABLE", len(replies), err, n)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := len(log.Stored()); got != n {
		t.Errorf("stored %d, want %d", got, n)
	}
}

func TestAppendStream_OfAProducerThatGoesAway(t *testing.T) {
	log := ingestkit.NewLog(t)
	log.Hold = make(chan struct{})
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	s, err := client.AppendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := s.Send(ingestkit.Request("bytes", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	ingestkit.AwaitSubmitted(t, log, 10)
	cancel()
	if _, err := ingestkit.ReceiveAll(s); status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want CANCELLED", err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Errorf("the agent waits for a producer that is gone: %v", err)
	}
	close(log.Hold)
}
