package stdout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/shipper/sink/stdout"
)

// output is a standard output that can block and fail.
type output struct {
	mu     sync.Mutex
	bytes  bytes.Buffer
	fail   error
	room   int           // bytes that are taken before fail
	closed chan struct{} // nil: it takes everything; else nothing before it is closed
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	blocked := o.closed
	o.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		n := min(o.room, len(b))
		o.room -= n
		o.bytes.Write(b[:n])
		return n, o.fail
	}
	return o.bytes.Write(b)
}

func (o *output) set(fail error, room int, closed chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail, o.room, o.closed = fail, room, closed
}

func (o *output) stored() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.bytes.Bytes())
}

func newSink(w *stdout.Writer, stream string) *stdout.Sink {
	return stdout.New(stdout.Options{Stream: stream, Destination: "d", Writer: w})
}

// failing fails one write.
type failing struct {
	*output
	once bool
}

func (f *failing) Write(b []byte) (int, error) {
	if f.once {
		f.once = false
		return 0, io.ErrClosedPipe
	}
	return f.output.Write(b)
}

func TestSink_Conforms(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		out := &failing{output: &output{}}
		return sinktest.Target{
			Sink:   newSink(stdout.NewWriter(out), "s"),
			Stored: out.stored, Atomic: true, Local: true,
			FailRequest: []func(){func() { out.once = true }},
		}
	})
}

func records(first, n int) (batch []shipper.Record) {
	for i := first; i < first+n; i++ {
		batch = append(batch, shipper.Record{First: uint64(i), Last: uint64(i), Events: 1, Data: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	return batch
}

func lines(first, n int) string {
	var b strings.Builder
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i)
	}
	return b.String()
}

func TestSink_NeedsAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, resumed := &output{}, make(chan struct{})
		writer := stdout.NewWriter(out)
		s, other := newSink(writer, "s"), newSink(writer, "other")
		out.set(nil, 0, resumed)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := s.Send(ctx, records(1, 3)); got.Err == nil || got.Err.Class != shipper.Operator || !strings.Contains(got.Err.Text, "nobody reads") {
			t.Errorf("got %+v, want an error that needs an operator", got)
		}
		if got := other.Send(ctx, records(1, 1)); got.Err == nil || got.Err.Class != shipper.Operator {
			t.Errorf("got %+v for another stream, want the same", got)
		}
		out.set(nil, 0, nil)
		close(resumed)
		// The lines that were under way are not written again, also by the sink of a new configuration.
		for i, batch := range [][]shipper.Record{records(1, 2), records(2, 3), records(6, 2)} {
			if got := newSink(writer, "s").Send(t.Context(), batch); got.Err != nil || len(got.Results) != len(batch) {
				t.Errorf("batch %d: got %+v", i, got)
			}
		}
		if want := lines(1, 4) + lines(6, 2); string(out.stored()) != want {
			t.Errorf("got %q, want %q", out.stored(), want)
		}
	})
}

// The memory of a long line is free once it is written.
func TestSink_KeepsNoLongLine(t *testing.T) {
	writer := stdout.NewWriter(io.Discard)
	s := newSink(writer, "s")
	before := heap()
	long := records(1, 1)
	long[0].Data = bytes.Repeat([]byte("x"), 16<<20)
	if got := s.Send(t.Context(), long); got.Err != nil {
		t.Fatal(got.Err)
	}
	long = nil
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if got := s.Send(t.Context(), records(2, 1)); got.Err != nil {
		t.Fatal(got.Err)
	}
}

// heap returns the bytes of live objects.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestSink_FinishesALineAfterAnError(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		out := &output{}
		s := newSink(stdout.NewWriter(out), "s")
		for next := 1; next <= 40; {
			out.set(nil, 0, nil)
			if r.IntN(2) == 0 {
				out.set(errors.New("no space"), r.IntN(60), nil)
			}
			batch := records(next, min(1+r.IntN(10), 41-next))
			got := s.Send(t.Context(), batch)
			if got.Err != nil && got.Err.Class != shipper.Operator {
				t.Fatalf("got %+v", got)
			}
			for i := range got.Results {
				if got.Results[i] == nil {
					next = i + int(batch[0].First) + 1
				}
			}
		}
		if want := lines(1, 40); string(out.stored()) != want {
			t.Fatalf("got %q, want %q", out.stored(), want)
		}
	}
}
