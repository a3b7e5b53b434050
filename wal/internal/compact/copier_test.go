package compact_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

var streams = []string{"s", "other"}

// sealed creates a log, and returns its events by stream, and the needs of a destination of each that has settled some
// events of each lane.
func sealed(t *testing.T, r *rand.Rand, dir string) (events map[string][]wal.Event, needs map[string]*compact.Needs) {
	t.Helper()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
	for _, s := range streams {
		_, err := l.OpenCursor(s, "d")
		testkit.Must(t, err)
	}
	for l.Stat().Segments < 3 {
		b := &wal.Batch{Stream: streams[r.IntN(len(streams))]}
		for range 1 + r.IntN(9) {
			b.Events = append(b.Events, wal.Event{
				Key: fmt.Sprint("k", r.IntN(30)), Data: []byte(strings.Repeat("x", r.IntN(4000))), Time: int64(r.IntN(1000)),
				Attributes: map[string]string{"n": fmt.Sprint(r.IntN(1000))},
			})
		}
		_, err := l.Append(t.Context(), b)
		testkit.Must(t, err)
	}
	events, needs = make(map[string][]wal.Event), make(map[string]*compact.Needs)
	for _, s := range streams {
		events[s] = testkit.ReadAll(t, l, s, 1, wal.AllLanes)
		end, lanes := uint64(len(events[s])+1), [segment.Lanes]segment.Progress{}
		low := end
		for i := range lanes {
			lanes[i].Checkpoint = 1 + r.Uint64N(end)
			if first := lanes[i].Checkpoint + 1 + r.Uint64N(20); r.IntN(2) == 0 {
				lanes[i].Settled = []segment.Run{{First: first, Next: first + 1 + r.Uint64N(20)}}
			}
			low = min(low, lanes[i].Checkpoint)
		}
		needs[s] = &compact.Needs{Low: low, Lanes: [][segment.Lanes]segment.Progress{lanes}}
	}
	testkit.Must(t, l.Close())
	return events, needs
}

// first returns the oldest segment of a closed log.
func first(t *testing.T, dir string) *segfile.File {
	t.Helper()
	f := segfile.New(filepath.Join(dir, "wal"), 1, new(segfile.Files), hclog.NewNullLogger())
	t.Cleanup(func() { _ = f.CloseForGood() })
	return f
}

// A log that has the copy in place of its segment has each needed event as it was, and adds no other.
func TestCopier_KeepsEveryNeededEvent(t *testing.T) {
	seed := draw.Seed(t)
	for run := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d/run=%d", seed, run), func(t *testing.T) {
			dir := t.TempDir()
			events, needs := sealed(t, rand.New(rand.NewPCG(seed, run)), dir)
			f := first(t, dir)
			before, err := f.Spans()
			testkit.Must(t, err)
			c := compact.Copier{Segment: f, Needs: needs, Pause: func(time.Duration) error { return nil }}
			size, err := c.Measure()
			testkit.Must(t, err)
			path := filepath.Join(dir, "copy")
			made, err := c.Copy(path, size+1<<20)
			testkit.Must(t, err)
			if info, err := os.Stat(path); err != nil || info.Size() != made.Length {
				t.Fatalf("got a file of %v, %v, want %d bytes", info, err, made.Length)
			}
			for s, sp := range made.Spans {
				if sp.Next != before[s].Next || sp.First < before[s].First {
					t.Errorf("%s: got span %+v of the copy of %+v", s, sp, before[s])
				}
			}
			testkit.Must(t, f.CloseForGood())
			testkit.Must(t, os.Rename(path, f.Path))
			l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
			dropped := 0
			for _, s := range streams {
				kept := make(map[uint64]wal.Event)
				for _, e := range testkit.ReadAll(t, l, s, 1, wal.AllLanes) {
					kept[e.Offset] = e
				}
				for _, e := range events[s] {
					got, there := kept[e.Offset]
					if there && !reflect.DeepEqual(got, e) {
						t.Fatalf("%s: event %d has changed", s, e.Offset)
					}
					if needed := !needs[s].Lanes[0][e.Lane].Done(e.Offset); needed && !there {
						t.Fatalf("%s: event %d is needed and gone", s, e.Offset)
					}
					if !there {
						dropped++
					}
				}
			}
			if dropped == 0 {
				t.Error("nothing was left out; nothing is tested")
			}
		})
	}
}

// An error of Pause ends a measurement and a copy, after whichever chunk it comes.
func TestCopier_EndsWithAnErrorOfPause(t *testing.T) {
	dir := t.TempDir()
	_, needs := sealed(t, rand.New(rand.NewPCG(1, 2)), dir)
	stop := errors.New("stop")
	calls, last := 0, 0
	c := compact.Copier{Segment: first(t, dir), Needs: needs, Pause: func(time.Duration) error {
		if calls++; calls == last {
			return stop
		}
		return nil
	}}
	for _, step := range map[string]func() error{
		"measure": func() error { _, err := c.Measure(); return err },
		"copy":    func() error { _, err := c.Copy(filepath.Join(dir, "copy"), 1<<20); return err },
	} {
		calls, last = 0, 0
		testkit.Must(t, step())
		if calls == 0 {
			t.Fatal("Pause is not called")
		}
		for n := range calls {
			if calls, last = 0, n+1; !errors.Is(step(), stop) || calls != last {
				t.Errorf("got no error, or %d calls of Pause, after an error of call %d", calls, last)
			}
		}
	}
}

// The notes of producers are read as the blocks are: with a pause after each chunk, and no transaction during it.
func TestCopier_PausesBetweenChunksOfNotes(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 4 << 20})
	_, err := l.OpenCursor("s", "d")
	testkit.Must(t, err)
	for i := uint64(1); l.Stat().Segments < 2; i++ {
		event := wal.Event{Key: "k", Data: make([]byte, 100_000)}
		_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: i, Events: []wal.Event{event}})
		testkit.Must(t, err)
	}
	testkit.Must(t, l.Close())
	all := &compact.Needs{Lanes: make([][segment.Lanes]segment.Progress, 1)}
	calls := 0
	c := compact.Copier{Segment: first(t, dir), Needs: map[string]*compact.Needs{"s": all}, Pause: func(time.Duration) error {
		calls++
		return nil
	}}
	size, err := c.Measure() // it reads all blocks once
	testkit.Must(t, err)
	once := calls
	calls = 0
	_, err = c.Copy(filepath.Join(dir, "copy"), size+1<<20)
	testkit.Must(t, err)
	if want := 2*once + 2; once < 4 || calls != want {
		t.Errorf("got %d pauses of a copy, want %d: for the notes and the blocks %d each, for the meta bucket and the state one each", calls, want, once)
	}
}
