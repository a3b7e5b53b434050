package deadletters_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/deadletters"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// known are streams that take data of so many bytes.
type known map[string]int

func (k known) Lookup(name string) (ingest.StreamRules, error) {
	limit, ok := k[name]
	if !ok {
		return ingest.StreamRules{}, fmt.Errorf("%w: %q", ingest.ErrNoStream, name)
	}
	return ingest.StreamRules{Room: func(*wal.Event) (int, string) { return limit, "file \"d\"" }}, nil
}

// testLetters are letters with the log that they append to.
type testLetters struct {
	*deadletters.Letters
	queue *deadletter.Queue
	log   *wal.Log
	ready func() error
}

func newLetters(t *testing.T, o wal.Options) *testLetters {
	t.Helper()
	o.Dir = t.TempDir()
	log, err := wal.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	l := &testLetters{log: log, queue: deadletter.Open(o.Dir, deadletter.Options{}), ready: log.Failed}
	l.Letters = deadletters.New(deadletters.Options{
		Queue: l.queue, Count: new(deadletters.Count), Submit: log.Submit, Streams: known{"s": 100, "t": 100, "big": 1 << 20},
		Ready: func() error { return l.ready() }, Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(func() {
		if err := errors.Join(log.Close(), l.queue.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *testLetters) bury(t *testing.T, stream string, data string, count int) {
	t.Helper()
	for n := range count {
		err := l.queue.Put(deadletter.Letter{Stream: stream, Destination: "d", Reason: "no", At: time.Unix(9, 0), Event: wal.Event{
			Key: fmt.Sprint("k", n), Data: []byte(data), Time: int64(n) + 1, Offset: uint64(n) + 1, Attributes: map[string]string{"a": "b"},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// left returns the ids of the letters that are still there.
func (l *testLetters) left(t *testing.T) (ids []uint64) {
	t.Helper()
	list, err := l.List(t.Context(), admin.DeadQuery{Limit: admin.MaxDeadList})
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range list.Letters {
		ids = append(ids, letter.ID)
	}
	return ids
}

func (l *testLetters) held(t *testing.T, stream string) []wal.Event {
	t.Helper()
	chunk, err := l.log.Read(stream, 1, wal.AllLanes, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return chunk.Events
}

func TestRequeue_KeepsEvents(t *testing.T) {
	l := newLetters(t, wal.Options{})
	if _, err := l.log.OpenCursor("s", "d"); err != nil {
		t.Fatal(err)
	}
	l.bury(t, "s", "data", 3)
	out, err := l.Requeue(t.Context(), admin.DeadChoice{IDs: []uint64{3, 1, 1, 9}})
	if err != nil || out.Requeued != 2 || len(out.Refused) != 1 || out.Refused[0].ID != 9 || out.Stopped != "" {
		t.Errorf("got %+v, %v, want 2 requeued and letter 9 refused", out, err)
	}
	got := l.held(t, "s")
	var want []wal.Event
	for i, n := range []int{0, 2} {
		key := fmt.Sprint("k", n)
		want = append(want, wal.Event{
			Key: key, Data: []byte("data"), Time: int64(n) + 1, Attributes: map[string]string{"a": "b"},
			Offset: uint64(i) + 1, Lane: wal.LaneOf(key),
		})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := l.left(t), []uint64{2}; !reflect.DeepEqual(got, want) {
		t.Errorf("got letters %v, want %v", got, want)
	}
}

func TestRequeue_KeepsLetterOfRejectedEvent(t *testing.T) {
	l := newLetters(t, wal.Options{})
	l.bury(t, "s", "data", 1)
	l.bury(t, "gone", "data", 1)
	l.bury(t, "s", strings.Repeat("x", 101), 1)
	l.bury(t, "t", "data", 1)
	out, err := l.Requeue(t.Context(), admin.DeadChoice{All: true})
	if err != nil || out.Requeued != 2 || len(out.Refused) != 2 {
		t.Fatalf("got %+v, %v, want 2 requeued and 2 refused", out, err)
	}
	for i, want := range []string{`no stream block matches: "gone"`, "data has 101 bytes; destination file \"d\" takes 100"} {
		if got := out.Refused[i]; got.ID != uint64(i)+2 || got.Reason != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	if got, want := l.left(t), []uint64{2, 3}; !reflect.DeepEqual(got, want) {
		t.Errorf("got letters %v, want %v", got, want)
	}
}

// More letters than one commit removes, and a choice of some of them.
func TestRequeue_ManyLetters(t *testing.T) {
	l := newLetters(t, wal.Options{})
	l.bury(t, "s", "data", 130)
	l.bury(t, "t", "data", 120)
	out, err := l.Requeue(t.Context(), admin.DeadChoice{Stream: "t", Until: 240})
	if err != nil || out.Requeued != 110 || out.Next != 0 {
		t.Errorf("got %+v, %v, want 110", out, err)
	}
	out, err = l.Requeue(t.Context(), admin.DeadChoice{Destination: "d", After: 5})
	if err != nil || out.Requeued != 135 || out.Until != 250 {
		t.Errorf("got %+v, %v, want 135 until 250", out, err)
	}
	if got, want := l.left(t), []uint64{1, 2, 3, 4, 5}; !reflect.DeepEqual(got, want) {
		t.Errorf("got letters %v, want %v", got, want)
	}
}

// A full log keeps the letters that it has no room for; none is lost and none is appended and kept.
func TestRequeue_IntoFullLog(t *testing.T) {
	l := newLetters(t, wal.Options{MaxSize: wal.MinMaxSize})
	if _, err := l.log.OpenCursor("big", "nobody"); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 100<<10)
	seeded := rand.NewChaCha8([32]byte{1})
	seeded.Read(data)
	const count = 250
	l.bury(t, "big", string(data), count)
	out, err := l.Requeue(t.Context(), admin.DeadChoice{All: true})
	if err != nil || out.Stopped == "" || out.Next != 0 || out.Requeued == 0 || len(out.Refused) == 0 {
		t.Fatalf("got %d requeued, %d refused, stopped %q, next %d, %v", out.Requeued, len(out.Refused), out.Stopped, out.Next, err)
	}
	if held, left := len(l.held(t, "big")), len(l.left(t)); held != out.Requeued || left != count-held {
		t.Errorf("got %d events and %d letters of %d, want %d events", held, left, count, out.Requeued)
	}
}

func TestDrop_ReportsMissingLetters(t *testing.T) {
	l := newLetters(t, wal.Options{})
	l.bury(t, "s", "data", 3)
	out, err := l.Drop(t.Context(), admin.DeadChoice{IDs: []uint64{2, 7}})
	if err != nil || out.Dropped != 1 || len(out.Refused) != 1 || out.Refused[0].ID != 7 {
		t.Errorf("got %+v, %v, want 1 dropped and letter 7 refused", out, err)
	}
	if out, err = l.Drop(t.Context(), admin.DeadChoice{All: true}); err != nil || out.Dropped != 2 {
		t.Errorf("got %+v, %v, want 2 dropped", out, err)
	}
	if got := l.left(t); got != nil {
		t.Errorf("got letters %v, want none", got)
	}
}

func TestRequeue_RejectedDuringStop(t *testing.T) {
	l := newLetters(t, wal.Options{})
	l.bury(t, "s", "data", 1)
	l.ready = func() error { return errors.New("the agent is stopping") }
	if _, err := l.Requeue(t.Context(), admin.DeadChoice{All: true}); !errors.Is(err, admin.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.ready = func() error { return nil }
	if out, err := l.Requeue(ctx, admin.DeadChoice{All: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v, %v, want canceled", out, err)
	}
	if got := l.left(t); len(got) != 1 {
		t.Errorf("got letters %v, want the one", got)
	}
}

func TestShow_WholeLetter(t *testing.T) {
	l := newLetters(t, wal.Options{})
	l.bury(t, "s", "däta", 1)
	l.bury(t, "s", "\xff\x00", 1)
	for id, want := range map[uint64]string{1: "däta", 2: "\xff\x00"} {
		got, err := l.Show(t.Context(), id)
		if err != nil || string(got.RawData()) != want || (got.Data != nil) != (id == 1) || got.Bytes != len(want) || got.Attributes["a"] != "b" {
			t.Errorf("got %+v, %v, want data %q", got, err, want)
		}
	}
	if _, err := l.Show(t.Context(), 3); !errors.Is(err, admin.ErrNoLetter) {
		t.Errorf("got %v, want ErrNoLetter", err)
	}
}
