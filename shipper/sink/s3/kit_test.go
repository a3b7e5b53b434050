package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/klauspost/compress/gzip"
	pq "github.com/parquet-go/parquet-go"

	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/s3"
	"github.com/standpipe/standpipe/test/fakes3"
	"github.com/standpipe/standpipe/wal"
)

// stream is a log and the part of the runner that the sink sees. Its fields survive a crash; drive and the sink do not.
type stream struct {
	events  []wal.Event // offset i+1 at index i
	settled uint64      // all offsets up to this one
	state   []byte
	dead    []uint64
	gone    atomic.Bool // the process has crashed
	chunk   int         // events of an Add; 0: 3
}

// errCrashed ends a run.
type crash struct{}

// step is a point in time at which the process can crash.
func (s *stream) step() {
	if s.gone.Load() {
		panic(crash{})
	}
}

// run ships all events through the sink that open returns, and opens another after each crash.
func (s *stream) run(t *testing.T, open func() *s3.Sink) {
	t.Helper()
	for range 100 {
		s.gone.Store(false)
		if s.ship(t, open()) {
			return
		}
	}
	t.Fatal("the stream is not shipped after 100 crashes")
}

func (s *stream) ship(t *testing.T, to *s3.Sink) (done bool) {
	t.Helper()
	ctx := t.Context()
	defer func() {
		if _, crashed := recover().(crash); crashed || s.gone.Load() {
			done = false
			to.Close()
		}
	}()
	for tries := 0; ; {
		next, err := to.Recover(ctx, s.settled+1, s.state)
		s.step()
		if err != nil {
			if tries++; tries > 100 {
				t.Fatalf("recover: %v", err)
			}
			continue
		}
		s.settled = next - 1
		if s.rangesFrom(t, ctx, to) {
			return true
		}
	}
}

// rangesFrom ships ranges until all events are settled, or an error has Restart.
func (s *stream) rangesFrom(t *testing.T, ctx context.Context, to *s3.Sink) (done bool) {
	t.Helper()
	for s.settled < uint64(len(s.events)) {
		at, full := s.settled, false
		for tries := 0; !full && at < uint64(len(s.events)); {
			some := s.events[at:min(at+uint64(max(s.chunk, 1)), uint64(len(s.events)))]
			n, err := to.Add(ctx, slices.Clone(some))
			s.step()
			at += uint64(n)
			switch {
			case err != nil && err.Restart:
				to.Abort(ctx)
				s.bury(at, err.Rejected)
				s.step()
				return false
			case err != nil:
				if tries++; tries > 100 {
					t.Fatalf("add: %v", err)
				}
			default:
				full = n < len(some)
			}
		}
		if at == s.settled {
			t.Fatal("a range without events is full")
		}
		s.step()
		s.state = to.Seal()
		s.step()
		for tries := 0; ; {
			_, err := to.Commit(ctx)
			s.step()
			if err == nil {
				break
			}
			if err.Restart {
				to.Abort(ctx)
				s.step()
				return false
			}
			if tries++; tries > 100 {
				t.Fatalf("commit: %v", err)
			}
		}
		s.settled = at
	}
	return true
}

// dead-letters the rejected events, which have to be next.
func (s *stream) bury(at uint64, rejected []ranged.Rejection) {
	for _, r := range rejected {
		if r.Offset == s.settled+1 {
			s.dead = append(s.dead, r.Offset)
			s.settled++
		}
	}
}

func open(t *testing.T, srv *fakes3.Server, change func(*s3.Options)) *s3.Sink {
	t.Helper()
	o := s3.Options{
		Bucket: "events", Prefix: "raw/dt=%Y-%m-%d/", Stream: "orders", LogID: "LOG", RollSize: 1000,
		AWS: sink.AWS{Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("A", "s", "")},
	}
	if change != nil {
		change(&o)
	}
	s, err := s3.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetPartSize(300)
	t.Cleanup(func() { s.Close() })
	return s
}

// events returns n events with lines of the given size.
func events(n, size int) []wal.Event {
	all := make([]wal.Event, n)
	for i := range all {
		line := fmt.Appendf(nil, "%08d", i+1)
		all[i] = wal.Event{Offset: uint64(i + 1), Key: fmt.Sprint("k", i%3), Time: time.Unix(int64(i), 0).UnixNano(),
			Data: append(line, bytes.Repeat([]byte{'x'}, max(size-len(line)-1, 0))...)}
	}
	return all
}

// check fails the test unless each event is in exactly one object, and no upload is left.
func (s *stream) check(t *testing.T, srv *fakes3.Server) {
	t.Helper()
	seen := make(map[uint64]string)
	objects := srv.Objects()
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		for _, offset := range offsets(t, key, objects[key].Body) {
			if other, twice := seen[offset]; twice {
				t.Fatalf("event %d is in %s and %s", offset, other, key)
			}
			seen[offset] = key
		}
	}
	for _, offset := range s.dead {
		seen[offset] = "dead"
	}
	if len(seen) != len(s.events) {
		t.Fatalf("got %d events in %d objects, want %d", len(seen), len(objects), len(s.events))
	}
	if left := srv.Uploads(); len(left) > 0 {
		t.Fatalf("unfinished uploads: %v", left)
	}
}

// parquetOffsets reads the one column page by page: a reader of rows has a finalizer, which would run beside a later test.
func parquetOffsets(t *testing.T, key string, body []byte) (all []uint64) {
	t.Helper()
	file, err := pq.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	column, ok := file.Schema().Lookup("offset")
	if !ok {
		t.Fatalf("%s: no column offset", key)
	}
	for _, group := range file.RowGroups() {
		pages := group.ColumnChunks()[column.ColumnIndex].Pages()
		values := make([]pq.Value, group.NumRows())
		for read := 0; read < len(values); {
			page, err := pages.ReadPage()
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			n, err := page.Values().ReadValues(values[read:])
			if n == 0 {
				t.Fatalf("%s: a page without values: %v", key, err)
			}
			read += n
			pq.Release(page)
		}
		for _, v := range values {
			all = append(all, uint64(v.Int64()))
		}
		pages.Close()
	}
	return all
}

// offsets returns the offsets of an object's events, and fails the test if they are not in order.
func offsets(t *testing.T, key string, body []byte) (all []uint64) {
	t.Helper()
	switch {
	case bytes.HasSuffix([]byte(key), []byte(".parquet")):
		all = parquetOffsets(t, key, body)
		slices.Sort(all)
	default:
		if bytes.HasSuffix([]byte(key), []byte(".gz")) {
			r, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			if body, err = io.ReadAll(r); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
		for line := range bytes.Lines(body) {
			var offset uint64
			fmt.Sscanf(string(line[:8]), "%d", &offset)
			all = append(all, offset)
		}
		if !slices.IsSorted(all) {
			t.Fatalf("%s: events are not in order", key)
		}
	}
	return all
}
