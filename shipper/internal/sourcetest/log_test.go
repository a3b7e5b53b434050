package sourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/sourcetest"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

var (
	_ shipper.Source          = (*sourcetest.Log)(nil)
	_ shipper.Cursor          = (*sourcetest.Cursor)(nil)
	_ shipper.DeadLetterQueue = (*sourcetest.DeadLetters)(nil)
)

// Every call of a shipper returns the same from the log in memory as from the log itself.
func TestLog_BehavesAsTheLogDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	real, mem := testkit.OpenLog(t, wal.Options{}), sourcetest.New()
	cursor, err := real.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	inMemory := mem.Cursor("s", "d")
	var settled [wal.Lanes]uint64 // the number of events of a lane that are settled
	var events [wal.Lanes][]uint64
	for range 300 {
		b := &wal.Batch{Stream: "s"}
		for range 1 + random.IntN(20) {
			key := fmt.Sprint("k", random.IntN(50))
			b.Events = append(b.Events, wal.Event{Key: key, Data: make([]byte, 1+random.IntN(100)), Time: 1})
		}
		grown := mem.Grown("s")
		a, err := real.Append(context.Background(), b)
		got, gotErr := mem.Append(context.Background(), b)
		if err != nil || gotErr != nil || a.First != got.First || a.Count != got.Count {
			t.Fatalf("got %+v %v, want %+v %v", got, gotErr, a, err)
		}
		<-grown
		for i, e := range b.Events {
			lane := wal.LaneOf(e.Key)
			events[lane] = append(events[lane], a.First+uint64(i))
		}

		lane := wal.LaneOf(fmt.Sprint("k", random.IntN(50)))
		if n := uint64(len(events[lane])); n > settled[lane] {
			end := settled[lane] + 1 + random.Uint64N(n-settled[lane])
			step := wal.Settlement{Lanes: map[uint8]wal.Progress{lane: {Checkpoint: events[lane][end-1] + 1}}}
			step.Add.Delivered.Events, step.Add.Requests = end-settled[lane], 1
			settled[lane] = end
			if err, gotErr := cursor.Settle(step), inMemory.Settle(step); err != nil || gotErr != nil {
				t.Fatalf("settle: got %v, want %v", gotErr, err)
			}
		}
		compare(t, random, real, mem, cursor, inMemory)
	}
	over := wal.Settlement{Add: wal.Ledger{Delivered: wal.Count{Events: 1}}}
	if err, gotErr := cursor.Settle(over), inMemory.Settle(over); !errors.Is(err, wal.ErrUnsettled) || !errors.Is(gotErr, wal.ErrUnsettled) {
		t.Errorf("a step without progress: got %v, want as %v", gotErr, err)
	}
	over.Lanes, over.Add.Delivered.Events = map[uint8]wal.Progress{0: {Checkpoint: real.Next("s")}}, 1<<40
	if err, gotErr := cursor.Settle(over), inMemory.Settle(over); !errors.Is(err, wal.ErrOvercounted) || !errors.Is(gotErr, wal.ErrOvercounted) {
		t.Errorf("a step of too many events: got %v, want as %v", gotErr, err)
	}
}

func compare(t *testing.T, random *rand.Rand, real *wal.Log, mem *sourcetest.Log, cursor *wal.Cursor, inMemory *sourcetest.Cursor) {
	t.Helper()
	if real.Next("s") != mem.Next("s") || real.Flow() != mem.Flow() || real.Appended("s") != mem.Appended("s") {
		t.Fatalf("got %d %d %v, want %d %d %v", mem.Next("s"), mem.Flow(), mem.Appended("s"), real.Next("s"), real.Flow(), real.Appended("s"))
	}
	want, got := cursor.Stat(), inMemory.Stat()
	if got.Checkpoint != want.Checkpoint || got.Pending != want.Pending || got.Delivered != want.Delivered || got.Appended != want.Appended || got.Requests != want.Requests {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	lanes, first := wal.LaneSet(random.Uint64()), want.Checkpoint
	from := first + random.Uint64N(real.Next("s")-first+1)
	a, err := real.Read("s", from, lanes, 1<<20)
	b, gotErr := mem.Read("s", from, lanes, 1<<20)
	if err != nil || gotErr != nil || a.Next != b.Next || a.End != b.End || len(a.Events) != len(b.Events) {
		t.Fatalf("read from %d: got %d events, next %d, %v, %v; want %d, %d, %v, %v", from, len(b.Events), b.Next, b.End, gotErr, len(a.Events), a.Next, a.End, err)
	}
	for i := range a.Events {
		if a.Events[i].Offset != b.Events[i].Offset || a.Events[i].Lane != b.Events[i].Lane || a.Events[i].Key != b.Events[i].Key {
			t.Fatalf("got %+v, want %+v", b.Events[i], a.Events[i])
		}
	}
	if part, _ := mem.Read("s", from, wal.AllLanes, 1); from < mem.Next("s") && (len(part.Events) != 1 || part.Next != from+1) {
		t.Fatalf("a read of a byte: got %+v, want one event", part)
	}
}
