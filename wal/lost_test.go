package wal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

func inspectLog(t testing.TB, dir string) *inspect.Inspection {
	t.Helper()
	in, err := inspect.Inspect(t.Context(), dir)
	must(t, err)
	return in
}

// The offsets of a segment that cannot be read are reported: by Inspect, before and after the segment was set aside,
// and in the agent log. Every destination has settled the events then, and the first offset of the oldest segment is no
// longer known.
func TestLoss_IsLoggedWithItsOffsets(t *testing.T) {
	s := newSample(t)
	sound := inspectLog(t, s.dir)
	if len(sound.Missing) > 0 {
		t.Errorf("got %v missing of a sound log", sound.Missing)
	}
	for i, file := range s.files[:len(s.files)-1] {
		t.Run(file, func(t *testing.T) {
			dir := s.copy(t)
			path := filepath.Join(dir, "wal", file)
			overwrite(t, path, 0, make([]byte, fileLength(t, path)))
			wantMissing(t, dir, sound.Segments[i].Streams, "wal/"+file)

			said := openAndListen(t, dir)
			after := slices.Clone(sound.Segments[i].Streams)
			for j := range after {
				if i == 0 {
					after[j].First = 0
				}
			}
			wantMissing(t, dir, after, "wal/"+file+".corrupt")
			words := []string{path + ".corrupt"}
			for _, held := range sound.Segments[i].Streams {
				run := wal.Run{First: held.First, Next: held.Next}
				words = append(words, fmt.Sprintf("stream=%s destination=d offsets=%s events=%d", held.Stream, run, held.Held.Events))
			}
			for _, word := range words {
				if !strings.Contains(said, word) {
					t.Errorf("got\n%swant %q in it", said, word)
				}
			}
		})
	}
}

// Once every destination has settled the events of the lost oldest segment, its first offset is no longer known.
func TestLoss_OfTheOldestSegmentIsShownWhileItsFileIsThere(t *testing.T) {
	s := newSample(t)
	held := inspectLog(t, s.dir).Segments[1].Streams
	dir := s.copy(t)
	path := filepath.Join(dir, "wal", s.files[0])
	overwrite(t, path, 0, make([]byte, fileLength(t, path)))
	l, err := wal.Open(t.Context(), sampleOptions(dir))
	must(t, err)
	for _, h := range held {
		for _, p := range l.Cursors(h.Stream) {
			advance(t, l, h.Stream, p.Name(), h.First)
		}
	}
	must(t, l.Close())
	var want []inspect.MissingRun
	for _, h := range held {
		want = append(want, inspect.MissingRun{Stream: h.Stream, Run: wal.Run{Next: h.First}, Why: []string{"wal/" + s.files[0] + ".corrupt"}})
	}
	if got := inspectLog(t, dir).Missing; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v missing, want %+v", got, want)
	}
}

func TestLostNewest_IsLoggedWithTheMostItCanHaveHeld(t *testing.T) {
	s := newSample(t)
	last := len(s.files) - 1
	held := inspectLog(t, s.dir).Segments[last].Streams
	dir := s.copy(t)
	path := filepath.Join(dir, "wal", s.files[last])
	overwrite(t, path, 0, make([]byte, fileLength(t, path)))
	said := openAndListen(t, dir)
	got := inspectLog(t, dir).Missing
	for _, h := range held {
		i := slices.IndexFunc(got, func(m inspect.MissingRun) bool { return m.Stream == h.Stream })
		if h.First == 1 { // the stream began in the lost segment, so its name is lost too
			l := open(t, sampleOptions(dir))
			p, err := l.OpenCursor(h.Stream, "d")
			must(t, err)
			if st := p.Stat(); i >= 0 || st.Dropped[wal.DroppedCorrupt].Events < h.Held.Events || st.Appended != st.Settled() {
				t.Errorf("got %+v missing of %s, whose destination has %+v", got, h.Stream, st)
			}
			must(t, l.Close())
			continue
		}
		if i < 0 || got[i].First != h.First || got[i].Next < h.Next || len(got[i].Why) != 1 {
			t.Fatalf("got %+v, want at least what %+v was", got, h)
		}
		if word := "offsets=" + (wal.Run{First: h.First, Next: got[i].Next}).String(); !strings.Contains(said, word) {
			t.Errorf("got\n%swant %q in it", said, word)
		}
	}
}

// openAndListen opens and closes a log like an agent that stops at once, and returns its log lines.
func openAndListen(t *testing.T, dir string) string {
	t.Helper()
	var said bytes.Buffer
	o := sampleOptions(dir)
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &said})
	l, err := wal.Open(t.Context(), o)
	must(t, err)
	must(t, l.Close())
	return said.String()
}

func wantMissing(t *testing.T, dir string, held []inspect.SegmentStream, file string) {
	t.Helper()
	var want []inspect.MissingRun
	for _, h := range held {
		want = append(want, inspect.MissingRun{Stream: h.Stream, Run: wal.Run{First: h.First, Next: h.Next}, Why: []string{file}})
	}
	if got := inspectLog(t, dir).Missing; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v missing, want %+v", got, want)
	}
}

// No offset is given out twice, however often the newest segment is lost, and even if it is the only segment.
func TestLostNewest_NoOffsetIsUsedTwice(t *testing.T) {
	remove := func(t *testing.T, path string) { must(t, os.Remove(path)) }
	spoil := func(t *testing.T, path string) { overwrite(t, path, 0, make([]byte, fileLength(t, path))) }
	for name, ways := range map[string][]func(t *testing.T, path string){
		"removed":        {remove, remove, remove},
		"spoiled":        {spoil, spoil, spoil},
		"one, the other": {remove, spoil, remove, spoil},
	} {
		for _, batches := range []int{1, 20} { // enough for one segment, and for several
			t.Run(fmt.Sprintf("%s/batches=%d", name, batches), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				last := appendTo(t, dir, batches, 0)
				for _, lose := range ways {
					files, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
					must(t, err)
					lose(t, files[len(files)-1])
					if r, err := inspect.Verify(t.Context(), dir, nil); err == nil && r.Damaged == 0 {
						t.Errorf("a log that has lost its newest segment is sound: %+v", r)
					}
					if said := openAndListen(t, dir); !strings.Contains(said, "newest segment is lost") {
						t.Errorf("the agent's log says nothing of it: %q", said)
					}
					last = appendTo(t, dir, 1, last)
				}
			})
		}
	}
}

// appendTo opens a log, appends that many batches, checks that their offsets are above last, and returns the last
// offset.
func appendTo(t *testing.T, dir string, batches int, last uint64) uint64 {
	t.Helper()
	l, err := wal.Open(t.Context(), sampleOptions(dir))
	must(t, err)
	for range batches {
		a, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 10_000)), event("k", "y")}})
		must(t, err)
		if a.First <= last {
			t.Fatalf("got offset %d, %d was given out before", a.First, last)
		}
		last = a.First + 1
	}
	must(t, l.Close())
	return last
}

// SegmentSize and MaxSize were lowered after the lost segment had been written. Open skips at least as many offsets as
// with the former settings.
func TestLostNewest_SkipsForTheSegmentSizeItWasWrittenWith(t *testing.T) {
	large := wal.Options{Dir: t.TempDir(), MaxSize: 256 << 20, SegmentSize: 4 << 20}
	l := open(t, large)
	last := uint64(0)
	for range 12 {
		a, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", strings.Repeat("x", 1<<20))}})
		must(t, err)
		last = a.First
	}
	must(t, l.Close())
	files, err := filepath.Glob(filepath.Join(large.Dir, "wal", "*.seg"))
	must(t, err)
	if len(files) < 3 {
		t.Fatalf("got %d segments, want at least 3", len(files))
	}
	must(t, os.Remove(files[len(files)-1]))
	skipped := func(o wal.Options) uint64 {
		o.Dir = t.TempDir()
		must(t, os.CopyFS(o.Dir, os.DirFS(large.Dir)))
		l := open(t, o)
		defer l.Close()
		return l.Next("s") - last
	}
	want := skipped(large)
	if got := skipped(wal.Options{MaxSize: 256 << 20, SegmentSize: 64 << 10}); got < want {
		t.Errorf("a lower SegmentSize: got %d offsets skipped, want at least %d", got, want)
	}
	if got := skipped(wal.Options{MaxSize: 1 << 20}); got < 1<<20/wal.LeastFrame*4 {
		t.Errorf("a lower MaxSize: got %d offsets skipped, want those of a segment of 4 MiB", got)
	}
}

// The name of the data directory may look like a glob pattern. Open still finds the files that reveal a loss.
func TestLostNewest_InADirectoryNamedLikeAPattern(t *testing.T) {
	for i, name := range []string{"[ab]", "[ab]", "[", "*", `back\slash`} {
		dir := filepath.Join(t.TempDir(), name)
		last := appendTo(t, dir, 1+20*(i%2), 0) // enough for one segment, and for several
		for _, way := range []string{"removed", "spoiled"} {
			path := segmentFiles(t, dir)
			newest := path[len(path)-1]
			if way == "removed" {
				must(t, os.Remove(newest))
			} else {
				overwrite(t, newest, 0, make([]byte, fileLength(t, newest)))
			}
			if said := openAndListen(t, dir); !strings.Contains(said, "newest segment is lost") {
				t.Errorf("%s: %s: the agent's log says nothing of it: %q", name, way, said)
			}
			last = appendTo(t, dir, 1, last)
		}
		l := open(t, sampleOptions(dir))
		names, err := l.SetAside()
		must(t, err)
		if len(names) != 1 || filepath.Dir(names[0]) != "wal" {
			t.Errorf("%s: got %q set aside, want one segment", name, names)
		}
		must(t, l.Close())
	}
}
