package ingest_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// The tests of this file run on the log itself.

// held returns the data of the events that a stream holds.
func held(t *testing.T, l *wal.Log, stream string) (data []string) {
	t.Helper()
	for from := uint64(1); ; {
		chunk, err := l.Read(stream, from, wal.AllLanes, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range chunk.Events {
			data = append(data, string(e.Data))
		}
		if chunk.End {
			return data
		}
		from = chunk.Next
	}
}

func TestListenersShareALog(t *testing.T) {
	log := testkit.OpenLog(t, wal.Options{})
	_, client := serveGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
	_, p := serveSocket(t, ingest.Options{Log: ingest.FromWAL(log)})
	const n = 500
	var want sync.Map
	var producers sync.WaitGroup
	producers.Go(func() {
		for i := range n {
			r, err := client.Append(t.Context(), appendOf("text", fmt.Sprint("unary ", i)))
			if err != nil {
				t.Error(err)
				return
			}
			want.Store(r.FirstOffset, fmt.Sprint("unary ", i))
		}
	})
	producers.Go(func() {
		s := openStream(t, client)
		go sendAll(s, "text", 0, n)
		replies, err := receiveAll(s)
		if err != nil || len(replies) != n {
			t.Errorf("%d replies, %v", len(replies), err)
		}
		for i, r := range replies {
			want.Store(r.FirstOffset, fmt.Sprint(i))
		}
	})
	producers.Go(func() {
		go func() {
			for i := range n {
				fmt.Fprintf(p.conn, `{"stream":"text","key":"k","data":"line %d"}`+"\n", i)
			}
		}()
		for i := range n {
			var offset uint64
			if _, err := fmt.Sscanf(p.response(), `{"offset":%d}`, &offset); err != nil {
				t.Error(err)
			}
			want.Store(offset, fmt.Sprint("line ", i))
		}
	})
	producers.Wait()
	got := held(t, log, "text")
	if len(got) != 3*n {
		t.Fatalf("the log holds %d events, want %d", len(got), 3*n)
	}
	for i, data := range got {
		if w, _ := want.Load(uint64(i + 1)); w != data {
			t.Fatalf("offset %d holds %q, %q was answered", i+1, data, w)
		}
	}
}

func TestResentBatch(t *testing.T) {
	log := testkit.OpenLog(t, wal.Options{})
	_, client := serveGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
	m := appendOf("text", "a", "b")
	m.ProducerId, m.ProducerSequence = "p", 1
	for i := range 2 {
		r, err := client.Append(t.Context(), m)
		if err != nil || r.FirstOffset != 1 || r.Duplicate != (i == 1) {
			t.Errorf("got %v, %v", r, err)
		}
	}
	m.ProducerSequence = 7
	if _, err := client.Append(t.Context(), m); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a gap in the sequence: got %v, want INVALID_ARGUMENT", err)
	}
}

// TestStreamOnAFullLog: the log holds exactly the requests with a response.
func TestStreamOnAFullLog(t *testing.T) {
	for _, size := range []int{100, 5000, 100_000} {
		log := testkit.OpenLog(t, wal.Options{MaxSize: wal.MinMaxSize})
		if _, err := log.OpenCursor("bytes", "nobody"); err != nil {
			t.Fatal(err)
		}
		_, client := serveGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
		s := openStream(t, client)
		go func() {
			data := make([]byte, size)
			for s.Send(appendOf("bytes", string(data))) == nil {
			}
		}()
		replies, err := receiveAll(s)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("got %v, want RESOURCE_EXHAUSTED", err)
		}
		if got, want := len(held(t, log, "bytes")), len(replies); got != want {
			t.Errorf("events of %d bytes: the log holds %d, %d were answered", size, got, want)
		}
	}
}

// TestStopThenClose: every request that was answered is in the log when the agent has stopped.
func TestStopThenClose(t *testing.T) {
	log := testkit.OpenLog(t, wal.Options{})
	server, client := serveGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
	var answered []string
	var mu sync.Mutex
	var producers sync.WaitGroup
	for p := range 8 {
		s := openStream(t, client)
		producers.Go(func() {
			go func() {
				for i := 0; s.Send(appendOf("text", fmt.Sprint(p, i))) == nil; i++ {
				}
			}()
			replies, err := receiveAll(s)
			if status.Code(err) != codes.Unavailable {
				t.Errorf("got %v, want UNAVAILABLE", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range replies {
				answered = append(answered, fmt.Sprint(p, i))
			}
		})
	}
	<-log.Grown("text")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Error(err)
	}
	stored := held(t, log, "text")
	producers.Wait()
	slices.Sort(stored)
	slices.Sort(answered)
	if !slices.Equal(stored, answered) {
		t.Errorf("%d events are stored, %d were answered", len(stored), len(answered))
	}
}

// discard is a log without any cost, so that a benchmark measures the listener.
type discard struct{}

var doneNow = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (d *discard) Submit(_ context.Context, b *wal.Batch) (ingest.Ticket, error) {
	return discarded(len(b.Events)), nil
}

func (d *discard) WaitSettled(context.Context, string, wal.Appended) (bool, error) { return true, nil }
func (d *discard) Full() bool                                                      { return false }

type discarded int

func (discarded) Done() <-chan struct{}           { return doneNow }
func (n discarded) Result() (wal.Appended, error) { return wal.Appended{First: 1, Count: int(n)}, nil }
func (n discarded) Wait(context.Context) (wal.Appended, error) {
	return n.Result()
}

// bare is the floor: gRPC with a service that does nothing.
type bare struct {
	standpipev1.UnimplementedIngestServer
}

func (bare) Append(_ context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	return &standpipev1.AppendResponse{FirstOffset: 1, Count: uint32(len(m.Events))}, nil
}

func (bare) AppendStream(s standpipev1.Ingest_AppendStreamServer) error {
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&standpipev1.AppendResponse{FirstOffset: 1, Count: uint32(len(m.Events))}); err != nil {
			return err
		}
	}
}
