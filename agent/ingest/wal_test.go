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
	"github.com/standpipe/standpipe/test/ingestkit"
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

func TestListeners_ShareALog(t *testing.T) {
	log := testkit.OpenLog(t, wal.Options{})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
	_, p := ingestkit.ServeSocket(t, ingest.Options{Log: ingest.FromWAL(log)})
	const n = 500
	var want sync.Map
	var producers sync.WaitGroup
	producers.Go(func() {
		for i := range n {
			r, err := client.Append(t.Context(), ingestkit.Request("text", fmt.Sprint("unary ", i)))
			if err != nil {
				t.Error(err)
				return
			}
			want.Store(r.FirstOffset, fmt.Sprint("unary ", i))
		}
	})
	producers.Go(func() {
		s := ingestkit.OpenStream(t, client)
		go ingestkit.SendAll(s, "text", 0, n)
		replies, err := ingestkit.ReceiveAll(s)
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
				fmt.Fprintf(p.Conn, `{"stream":"text","key":"k","data":"line %d"}`+"\n", i)
			}
		}()
		for i := range n {
			var offset uint64
			if _, err := fmt.Sscanf(p.Response(), `{"offset":%d}`, &offset); err != nil {
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

func TestBatch_Resent(t *testing.T) {
	log := testkit.OpenLog(t, wal.Options{})
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
	m := ingestkit.Request("text", "a", "b")
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

// TestStream_OnAFullLog: the log holds exactly the requests with a response.
func TestStream_OnAFullLog(t *testing.T) {
	for _, size := range []int{100, 5000, 100_000} {
		log := testkit.OpenLog(t, wal.Options{MaxSize: wal.MinMaxSize})
		if _, err := log.OpenCursor("bytes", "nobody"); err != nil {
			t.Fatal(err)
		}
		_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
		s := ingestkit.OpenStream(t, client)
		go func() {
			data := make([]byte, size)
			for s.Send(ingestkit.Request("bytes", string(data))) == nil {
			}
		}()
		replies, err := ingestkit.ReceiveAll(s)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("got %v, want RESOURCE_EXHAUSTED", err)
		}
		if got, want := len(held(t, log, "bytes")), len(replies); got != want {
			t.Errorf("events of %d bytes: the log holds %d, %d were answered", size, got, want)
		}
	}
}

// TestServer_StopThenClose: every request that was answered is in the log when the agent has stopped.
func TestServer_StopThenClose(t *testing.T) {
	log := testkit.OpenLog(t, wal.Options{})
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingest.FromWAL(log)})
	var answered []string
	var mu sync.Mutex
	var producers sync.WaitGroup
	for p := range 8 {
		s := ingestkit.OpenStream(t, client)
		producers.Go(func() {
			go func() {
				for i := 0; s.Send(ingestkit.Request("text", fmt.Sprint(p, i))) == nil; i++ {
				}
			}()
			replies, err := ingestkit.ReceiveAll(s)
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
