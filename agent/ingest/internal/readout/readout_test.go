package readout_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
)

// serve returns a client of a gRPC listener that offers the events of the log.
func serve(t *testing.T, l *wal.Log, o ingest.Options) *client.Client {
	t.Helper()
	o.Type, o.Log, o.Reads = ingest.GRPC, ingest.FromWAL(l), l
	s := ingestkit.Serve(t, o)
	c, err := client.Dial("unix://"+s.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func appendAt(t *testing.T, l *wal.Log, at int64, key, data string) {
	t.Helper()
	b := &wal.Batch{Stream: "text", Events: []wal.Event{{Key: key, Data: []byte(data), Time: at, Attributes: map[string]string{"n": data}}}}
	if _, err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// read returns the events of a reading that ends, and its error.
func read(ctx context.Context, c *client.Client, o client.ReadOptions) (events []client.StoredEvent, gaps []string, err error) {
	for e, err := range c.Read(ctx, "text", o) {
		gone, isGap := errors.AsType[*client.GoneError](err)
		switch {
		case err == nil:
			events = append(events, e)
		case isGap:
			gaps = append(gaps, fmt.Sprintf("%d-%d", gone.From, gone.Next))
		default:
			return events, gaps, err
		}
	}
	return events, gaps, nil
}

// For every begin, keys and limit a reading has the events that a filter of all events has.
func TestRead_ReturnsTheAskedPart(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	l := testkit.OpenLog(t, wal.Options{SegmentSize: 64 << 10, MaxSize: 64 << 20})
	c := serve(t, l, ingest.Options{})
	const n, begin = 300, int64(1_700_000_000_000_000_000)
	for i := range int64(n) {
		appendAt(t, l, begin+i*1000, fmt.Sprintf("k%d", r.IntN(5)), strings.Repeat("x", r.IntN(2000))+fmt.Sprint(i))
	}
	all, gaps, err := read(t.Context(), c, client.ReadOptions{FromOldest: true, Once: true})
	if err != nil || len(gaps) > 0 || len(all) != n {
		t.Fatalf("got %d events, gaps %v, %v", len(all), gaps, err)
	}
	for i, e := range all {
		if e.Offset != uint64(i+1) || !strings.HasSuffix(string(e.Data), fmt.Sprint(i)) || e.Time.UnixNano() != begin+int64(i)*1000 ||
			e.Attributes["n"] != string(e.Data) || e.LogID != l.Branches("text")[0].ID || e.Lag != uint64(n-i-1) {
			t.Fatalf("event %d: got offset %d, lag %d, log %s, time %v", i, e.Offset, e.Lag, e.LogID, e.Time)
		}
	}
	for range 50 {
		o := client.ReadOptions{Once: true, Limit: uint64(r.IntN(3) * r.IntN(n))}
		from := 1 + r.IntN(n)
		switch r.IntN(3) {
		case 0:
			o.FromOffset = uint64(from)
		case 1:
			o.FromTime = time.Unix(0, begin+int64(from-1)*1000-int64(r.IntN(1000)))
		default:
			o.FromOldest, from = true, 1
		}
		for i := range r.IntN(3) {
			o.Keys = append(o.Keys, fmt.Sprintf("k%d", i))
		}
		want := slices.DeleteFunc(slices.Clone(all[from-1:]), func(e client.StoredEvent) bool {
			return o.Keys != nil && !slices.Contains(o.Keys, e.Key)
		})
		if o.Limit > 0 {
			want = want[:min(len(want), int(o.Limit))]
		}
		got, gaps, err := read(t.Context(), c, o)
		if err != nil || len(gaps) > 0 || !slices.EqualFunc(got, want, func(a, b client.StoredEvent) bool { return a.Offset == b.Offset }) {
			t.Fatalf("%+v: got %d events, gaps %v, %v; want %d", o, len(got), gaps, err, len(want))
		}
	}
}

// The offset of the next event is the last one to read from. A later one is of another log, and an error that does not go away.
func TestRead_BeyondTheEnd(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	c := serve(t, l, ingest.Options{})
	for end := uint64(1); end < 4; end++ {
		for past := range uint64(3) {
			for _, once := range []bool{true, false} {
				ctx, cancel := context.WithCancel(t.Context())
				if past == 0 {
					time.AfterFunc(10*time.Millisecond, cancel) // a reading that follows waits
				}
				got, gaps, err := read(ctx, c, client.ReadOptions{FromOffset: end + past, Once: once})
				cancel()
				e, rejected := errors.AsType[*client.Error](err)
				want := fmt.Sprintf("from_offset %d is beyond the end of stream \"text\", which will give offset %d to its next event", end+past, end)
				if len(got)+len(gaps) > 0 || rejected != (past > 0) || rejected && (e.Code != codes.OutOfRange || !strings.Contains(e.Text, want)) {
					t.Errorf("from %d of %d on, once: %v: got %d events, gaps %v, %v", end+past, end, once, len(got), gaps, err)
				}
			}
		}
		appendAt(t, l, 1, "k", "x")
	}
}

// A caller that takes nothing holds up neither appends nor shipping nor truncation. When it goes on, it has all events that are left,
// and an error with the offset behind each gap.
func TestRead_WhileTheLogTruncates(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{SegmentSize: 1 << 20, MaxSize: 256 << 20})
	c := serve(t, l, ingest.Options{})
	p, err := walkit.Place(l, "text", "d")
	testkit.Must(t, err)
	appendMany := func() {
		b := &wal.Batch{Stream: "text"}
		for i := range 10 {
			b.Events = append(b.Events, wal.Event{Key: fmt.Sprint(i), Data: make([]byte, 64<<10), Time: 1})
		}
		_, err := l.Append(t.Context(), b)
		testkit.Must(t, err)
	}
	for range 50 { // more than the connection has room for
		appendMany()
	}
	next, gaps := uint64(1), 0
	for e, err := range c.Read(t.Context(), "text", client.ReadOptions{FromOldest: true}) {
		if gone, isGap := errors.AsType[*client.GoneError](err); isGap {
			if gone.From != next || gone.Next <= next || gone.Next < l.Streams()[0].First {
				t.Fatalf("got the gap %+v at offset %d of a log from %d", gone, next, l.Streams()[0].First)
			}
			next = gone.Next
			gaps++
			continue
		}
		testkit.Must(t, err)
		if e.Offset != next {
			t.Fatalf("got offset %d, want %d", e.Offset, next)
		}
		if next == 1 { // the caller holds the stream open
			walkit.SettleAll(l, p, p.Stat().Pending)
			walkit.Sync(t, l)
			testkit.Eventually(t, time.Minute, func() error {
				if first := l.Streams()[0].First; first < 400 {
					return fmt.Errorf("the log has events from %d on", first)
				}
				return nil
			})
			appendMany()
		}
		if next++; next == l.Next("text") {
			break
		}
	}
	if gaps == 0 {
		t.Error("got no gap: the reader was not held up")
	}
}

// One reader more than a listener has waits until another one has ended.
func TestRead_IsLimited(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	c := serve(t, l, ingest.Options{})
	appendAt(t, l, 1, "k", "x")
	var readers []func()
	for range 32 {
		next, stop := iter.Pull2(c.Read(t.Context(), "text", client.ReadOptions{FromOldest: true}))
		defer stop()
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, stop)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, _, err := read(ctx, c, client.ReadOptions{FromOldest: true, Once: true}); len(got) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside 32 readers: got %d events, %v", len(got), err)
	}
	readers[0]()
	if got, _, err := read(t.Context(), c, client.ReadOptions{FromOldest: true, Once: true}); len(got) != 1 || err != nil {
		t.Errorf("beside 31 readers: got %d events, %v", len(got), err)
	}
}

// A reading that follows has every event that is appended after it began, in order.
func TestRead_Follows(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	c := serve(t, l, ingest.Options{})
	appendAt(t, l, 1, "k", "before")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := false
	next := 0
	for e, err := range c.Read(ctx, "text", client.ReadOptions{FromOldest: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !begun {
			begun = true
		} else if string(e.Data) != fmt.Sprint(next-1) {
			t.Fatalf("got %q, want %d", e.Data, next-1)
		}
		if next == 100 {
			break
		}
		appendAt(t, l, 1, "k", fmt.Sprint(next))
		next++
	}
}

// Events that the log has no more are reported, and the reading goes on behind them.
func TestRead_ReportsWhatIsGone(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{SegmentSize: 64 << 10, MaxSize: 64 << 20})
	c := serve(t, l, ingest.Options{})
	p, err := walkit.Place(l, "text", "d")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		appendAt(t, l, 1, "k", strings.Repeat("x", 16<<10)+fmt.Sprint(i))
	}
	walkit.SettleAll(l, p, p.Stat().Pending)
	walkit.Sync(t, l)
	testkit.Eventually(t, 10*time.Second, func() error {
		if first := l.Streams()[0].First; first == 1 {
			return fmt.Errorf("nothing is truncated yet")
		}
		return nil
	})
	got, gaps, err := read(t.Context(), c, client.ReadOptions{FromOffset: 1, Once: true})
	if err != nil || len(gaps) != 1 {
		t.Fatalf("got gaps %v, %v", gaps, err)
	}
	oldest, none, err := read(t.Context(), c, client.ReadOptions{FromOldest: true, Once: true})
	if err != nil || len(none) > 0 || len(oldest) != len(got) {
		t.Errorf("from the oldest: got %d events, gaps %v, %v; from 1: %d, gaps %v", len(oldest), none, err, len(got), gaps)
	}
	if len(got) > 0 && gaps[0] != fmt.Sprintf("1-%d", got[0].Offset) {
		t.Errorf("got the gap %v and then offset %d", gaps, got[0].Offset)
	}
}

// Only an identity with the stream in its setting read may read it.
func TestRead_NeedsPermission(t *testing.T) {
	for _, test := range []struct {
		read []string
		ok   bool
	}{{nil, false}, {[]string{"bytes"}, false}, {[]string{"te*"}, true}} {
		l := testkit.OpenLog(t, wal.Options{})
		g, _ := accesstest.Own(t, access.Identity{Read: test.read})
		c := serve(t, l, ingest.Options{Guard: g})
		appendAt(t, l, 1, "k", "x")
		got, _, err := read(t.Context(), c, client.ReadOptions{FromOldest: true, Once: true})
		streams, listed := c.Streams(t.Context(), "")
		if listed != nil || len(streams) == 1 != test.ok {
			t.Errorf("%v: got the streams %v, %v", test.read, streams, listed)
		}
		e, refused := errors.AsType[*client.Error](err)
		if test.ok && (err != nil || len(got) != 1) || !test.ok && (!refused || e.Code != codes.PermissionDenied) {
			t.Errorf("%v: got %d events, %v", test.read, len(got), err)
		}
	}
}

func TestRead_ChecksItsRequest(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	c := serve(t, l, ingest.Options{})
	for want, o := range map[string]client.ReadOptions{
		"at most one is allowed":         {FromOffset: 1, FromOldest: true},
		"at most 1000 are allowed":       {Keys: make([]string, 1001)},
		"2 of from_offset, from_time_un": {FromOffset: 1, FromTime: time.Unix(1, 0)},
	} {
		if _, _, err := read(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
	for err := range func(yield func(error) bool) {
		for _, err := range c.Read(t.Context(), "nosuch", client.ReadOptions{}) {
			yield(err)
		}
	} {
		if err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
			t.Errorf("got %v", err)
		}
	}
}

// A caller that takes nothing holds up neither appends nor the stop of the listener.
func TestRead_OfASlowCaller(t *testing.T) {
	l := testkit.OpenLog(t, wal.Options{})
	s := ingestkit.Serve(t, ingest.Options{Type: ingest.GRPC, Log: ingest.FromWAL(l), Reads: l})
	c, err := client.Dial("unix://"+s.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 200 {
		appendAt(t, l, 1, "k", strings.Repeat("x", 64<<10)+fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range c.Read(ctx, "text", client.ReadOptions{FromOldest: true}) { // holds the stream open at its first event
		appendAt(t, l, 1, "k", "during")
		stop, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := s.Stop(stop); err != nil {
			t.Errorf("stop: %v", err)
		}
		cancel()
		break
	}
}
