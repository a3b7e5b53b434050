package inspect_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// fillLog creates a log of several segments with two streams and three cursors, and closes it. One of the cursors has
// settled a part of each lane.
func fillLog(t testing.TB, dir string) {
	t.Helper()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 280 << 10})
	for _, name := range [][2]string{{"clicks", "archive"}, {"clicks", "live"}, {"audit", "archive"}} {
		if _, err := l.OpenCursor(name[0], name[1]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 150 {
		testkit.AppendOne(t, l, "clicks", fmt.Sprint("k", i%17), fmt.Sprintf("%05d%s", i, strings.Repeat("x", 6_000)))
		if i%3 == 0 {
			testkit.AppendOne(t, l, "audit", "a", fmt.Sprint(i))
		}
	}
	walkit.SettleLanes(t, l, "clicks", "live", func(lane uint8) uint64 { return 40 + uint64(lane) })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// dumpAll returns the dumped events and the reported damage.
func dumpAll(t testing.TB, dir string, o inspect.DumpOptions) (events []inspect.DumpedEvent, damage []*wal.CorruptError) {
	t.Helper()
	o.Damaged = func(err *wal.CorruptError) { damage = append(damage, err) }
	err := inspect.Dump(context.Background(), dir, o, func(e inspect.DumpedEvent) error {
		events = append(events, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, damage
}

func ofStream(events []inspect.DumpedEvent, stream string) (of []wal.Event) {
	for _, e := range events {
		if e.Stream == stream {
			of = append(of, e.Event)
		}
	}
	return of
}

func TestInspectTellsWhatTheLogTells(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	closed, err := inspect.Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
	got, err := inspect.Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Streams, closed.Streams) || !reflect.DeepEqual(got.Cursors, closed.Cursors) {
		t.Errorf("got %+v beside an open log, %+v of a closed one", got, closed)
	}
	if got.ID != l.ID() || !reflect.DeepEqual(got.Streams, l.Streams()) || len(got.Segments) != l.Stat().Segments {
		t.Errorf("got log %s, %+v, %d segments, want %s, %+v, %d", got.ID, got.Streams, len(got.Segments), l.ID(), l.Streams(), l.Stat().Segments)
	}
	checkCursors(t, l, got.Cursors)
	checkSegments(t, got.Segments)
}

func checkCursors(t *testing.T, l *wal.Log, got []inspect.InspectedCursor) {
	t.Helper()
	if len(got) != 3 {
		t.Errorf("got %d places, want 3", len(got))
	}
	for _, p := range got {
		for _, want := range l.Cursors(p.Stream) {
			if st := want.Stat(); want.Name() == p.Destination && (st.Pending != p.Pending || st.Checkpoint != p.Checkpoint || st.Delivered != p.Delivered) {
				t.Errorf("got %+v, want %+v", p, st)
			}
		}
	}
}

func checkSegments(t *testing.T, got []inspect.SegmentInfo) {
	t.Helper()
	next := map[string]uint64{"clicks": 1, "audit": 1}
	for i, s := range got {
		want := inspect.SegmentSealed
		if i == len(got)-1 {
			want = inspect.SegmentActive
		}
		if s.State != want || s.Fault != "" || s.Disk == 0 {
			t.Errorf("got segment %+v, want it %s", s, want)
		}
		for _, st := range s.Streams {
			if st.First != next[st.Stream] || st.Held.Events != st.Next-st.First || st.Live != st.Held.Events {
				t.Errorf("got %+v in %s, want it to begin at %d and live", st, s.Name, next[st.Stream])
			}
			next[st.Stream] = st.Next
		}
	}
	if next["clicks"] != 151 || next["audit"] != 51 {
		t.Errorf("got ends %v", next)
	}
}

func TestDumpGivesEveryEventOnce(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	closed, damage := dumpAll(t, dir, inspect.DumpOptions{})
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
	events, more := dumpAll(t, dir, inspect.DumpOptions{})
	if len(damage)+len(more) > 0 || !reflect.DeepEqual(events, closed) {
		t.Errorf("got %d events and %v open, %d and %v closed", len(events), more, len(closed), damage)
	}
	for _, stream := range []string{"clicks", "audit"} {
		if got, want := ofStream(events, stream), testkit.ReadAll(t, l, stream, 1, wal.AllLanes); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %d events, want %d", stream, len(got), len(want))
		}
	}
}

func TestDumpFilters(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir})
	for i := range 60 {
		b := &wal.Batch{Stream: []string{"s", "other"}[i%2]}
		for n := range 3 {
			b.Events = append(b.Events, wal.Event{Key: fmt.Sprint("k", n), Data: []byte("x"), Time: int64(i)})
		}
		if _, err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	at := func(n int64) time.Time { return time.Unix(0, n) }
	tests := []struct {
		o    inspect.DumpOptions
		want int
	}{
		{inspect.DumpOptions{}, 180},
		{inspect.DumpOptions{Stream: "s"}, 90},
		{inspect.DumpOptions{Stream: "nobody"}, 0},
		{inspect.DumpOptions{Key: "k1"}, 60},
		{inspect.DumpOptions{Key: "k9"}, 0},
		{inspect.DumpOptions{Stream: "s", From: 41}, 50},
		{inspect.DumpOptions{Stream: "s", From: 41, To: 43}, 2},
		{inspect.DumpOptions{Stream: "s", To: 3}, 2},
		{inspect.DumpOptions{Stream: "s", From: 1000}, 0},
		{inspect.DumpOptions{Since: at(10)}, 150},
		{inspect.DumpOptions{Since: at(10), Until: at(12)}, 6},
		{inspect.DumpOptions{Stream: "s", Key: "k0", From: 4, Until: at(10)}, 4},
	}
	for _, test := range tests {
		events, damage := dumpAll(t, dir, test.o)
		if len(events) != test.want || len(damage) > 0 {
			t.Errorf("%+v: got %d events and %v, want %d", test.o, len(events), damage, test.want)
		}
	}
}

func TestADumpEndsWithTheErrorOfWhoeverTakesIt(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	enough, n := errors.New("enough"), 0
	err := inspect.Dump(t.Context(), dir, inspect.DumpOptions{}, func(inspect.DumpedEvent) error {
		if n++; n == 70 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 70 {
		t.Errorf("got %v after %d events, want it after 70", err, n)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inspect.Verify(cancelled, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a verify that was cancelled", err)
	}
}

func TestASoundLogVerifies(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	for _, running := range []bool{false, true} {
		if running {
			testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
		}
		got := walkit.WantSound(t, dir)
		if got.Events.Events != 200 || got.Segments < 4 || got.Segments != got.Of || got.Bytes == 0 {
			t.Errorf("running %v: got %+v, want 200 events", running, got)
		}
		awaitNoNotes(t, dir)
	}
}

// awaitNoNotes verifies a sound log until Verify has no notes. It may note a segment that a running log makes ready just then.
func awaitNoNotes(t *testing.T, dir string) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func() error {
		if got := walkit.WantSound(t, dir); len(got.Notes) > 0 {
			return fmt.Errorf("got notes %q, want none", got.Notes)
		}
		return nil
	})
}

func TestTruncatedSegmentsAreNoDamage(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
	before := l.Stat().Segments
	for _, d := range []string{"archive", "live"} { // the cursor of audit still needs the oldest segment
		p, _ := walkit.Place(l, "clicks", d)
		walkit.SettleAll(l, p, p.Stat().Pending)
	}
	walkit.SettleLanes(t, l, "audit", "archive", func(uint8) uint64 { return 30 })
	testkit.Eventually(t, time.Minute, func() error {
		walkit.Sync(t, l)
		if after := l.Stat().Segments; after >= before {
			return fmt.Errorf("got %d segments, had %d", after, before)
		}
		return nil
	})
	awaitNoNotes(t, dir)
	in, err := inspect.Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range in.Segments[0].Streams {
		if s.Stream == "clicks" && s.Live != 0 || s.Stream == "audit" && s.Live == 0 {
			t.Errorf("got %+v", s)
		}
	}
}

func TestNoLogIsSaid(t *testing.T) {
	empty := t.TempDir()
	for dir, want := range map[string]error{
		empty:                         inspect.ErrNoLog,
		filepath.Join(empty, "there"): fs.ErrNotExist,
	} {
		_, inspected := inspect.Inspect(t.Context(), dir)
		_, verified := inspect.Verify(t.Context(), dir, nil)
		dumped := inspect.Dump(t.Context(), dir, inspect.DumpOptions{}, nil)
		for _, err := range []error{inspected, verified, dumped} {
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", dir, err, want)
			}
		}
	}
}

// folderState returns everything in a folder that an inspection could change.
func folderState(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		files[path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime(), changed(info), sha256.Sum256(content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestInspectingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	os.Remove(filepath.Join(dir, "LOCK")) // as in a copy of a data directory
	before := folderState(t, dir)
	inspectAll(t, dir)
	if after := folderState(t, dir); !reflect.DeepEqual(after, before) {
		t.Errorf("got %v, want %v", after, before)
	}
}

func inspectAll(t *testing.T, dir string) {
	t.Helper()
	if _, err := inspect.Inspect(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if got, damage := dumpAll(t, dir, inspect.DumpOptions{}); len(got) != 200 || len(damage) > 0 {
		t.Errorf("got %d events and %v, want 200", len(got), damage)
	}
	walkit.WantSound(t, dir)
}

const readingDir = "STANDPIPE_TEST_READING_DIR"

// TestReadingProcess is the other process of the test below.
func TestReadingProcess(t *testing.T) {
	if dir := os.Getenv(readingDir); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "wal", "x"), nil, 0o600); err == nil {
			t.Error("this process may write; nothing is tested")
		}
		inspectAll(t, dir)
	}
}

// A user without write permission, on a read-only data directory, can use all of the tools.
func TestWhoMayOnlyReadCanInspect(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	modes := map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o555, filepath.Join(dir, "wal"): 0o555}
	for _, path := range walkit.SegmentFiles(t, dir) {
		modes[path] = 0o444
	}
	for path, mode := range modes {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755); os.Chmod(filepath.Join(dir, "wal"), 0o755) })
	process := exec.Command("/proc/self/exe", "-test.run=^TestReadingProcess$")
	process.Env = append(os.Environ(), readingDir+"="+dir)
	process.Dir = "/"
	asNobody(process)
	if out, err := process.CombinedOutput(); err != nil {
		t.Errorf("got %v: %s", err, out)
	}
}
