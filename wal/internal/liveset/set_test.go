package liveset_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// folder makes segments that have a file of some bytes, and no bbolt.
type folder struct {
	t     *testing.T
	dir   string
	files segfile.Files
	seq   uint64
}

func (f *folder) file(length int) *segfile.File {
	f.t.Helper()
	f.seq++
	file := segfile.New(f.dir, f.seq, &f.files, hclog.NewNullLogger())
	if err := os.WriteFile(file.Path, bytes.Repeat([]byte{1}, length), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return file
}

func span(first, next uint64) segment.Span { return segment.Span{First: first, Next: next} }

// loaded returns a set of sealed segments with these spans of stream "s", and a newest one without events.
func loaded(f *folder, spans ...segment.Span) *liveset.Set {
	set := liveset.New(func() {})
	for _, sp := range spans {
		set.Load(f.file(64<<10), map[string]segment.Span{"s": sp}, false)
	}
	set.Begin(liveset.NewSegment(f.file(4 << 10)))
	return set
}

// For drawn spans and removals: Find returns the oldest segment with an event at or after the offset.
func TestFind_AgreesWithASearchOfAll(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		f := &folder{t: t, dir: t.TempDir()}
		var spans []segment.Span
		next := uint64(1)
		for range 1 + r.IntN(12) {
			first := next + r.Uint64N(3)
			next = first + 1 + r.Uint64N(9)
			spans = append(spans, span(first, next))
		}
		set := loaded(f, spans...)
		for range 40 {
			offset := r.Uint64N(next + 3)
			var want segment.Span
			for _, sp := range spans {
				if sp.Next > offset {
					want = sp
					break
				}
			}
			if _, got := set.Find("s", offset); got != want {
				t.Fatalf("offset %d: got %v, want %v", offset, got, want)
			}
			if seg, _ := set.Find("other", offset); seg != nil {
				t.Fatal("got a segment of a stream without events")
			}
			if look, _ := set.Look(); len(spans) > 1 && r.IntN(10) == 0 {
				if !set.Remove([]*liveset.Segment{set.Sealed()[0].Segment}, look) {
					t.Fatal("nothing removed")
				}
				spans = spans[1:]
			}
		}
	}
}

// A Hold keeps the segments: neither Remove nor Replace changes anything meanwhile, and no Remove that was decided before.
func TestHold_KeepsSegments(t *testing.T) {
	f, released := &folder{t: t, dir: t.TempDir()}, 0
	set := liveset.New(func() { released++ })
	set.Load(f.file(64<<10), map[string]segment.Span{"s": span(1, 9)}, false)
	set.Begin(liveset.NewSegment(f.file(4 << 10)))
	seg := set.Sealed()[0].Segment
	replacement := func() *liveset.Copy {
		return &liveset.Copy{
			Path: f.file(4 << 10).Path, Spans: map[string]segment.Span{"s": span(5, 9)},
			Suffices: func(map[string]segment.Span) bool { return true }, Shrunk: func() {},
		}
	}

	look, ok := set.Look()
	release := set.Hold()
	if _, held := set.Look(); !ok || held {
		t.Errorf("got looks %v and %v, want only the first", ok, held)
	}
	if replaced, err := set.Replace(seg, replacement()); replaced || err != nil {
		t.Errorf("got replaced %v, %v during a hold", replaced, err)
	}
	release()
	if released != 1 {
		t.Errorf("got %d calls at the release, want 1", released)
	}
	if set.Remove([]*liveset.Segment{seg}, look) {
		t.Error("removed by a look from before the hold")
	}
	if replaced, err := set.Replace(seg, replacement()); !replaced || err != nil {
		t.Fatalf("got replaced %v, %v", replaced, err)
	}
	if _, sp := set.Find("s", 1); sp != span(5, 9) || !set.Gapped(seg) {
		t.Errorf("got %v, gapped %v after the replacement", sp, set.Gapped(seg))
	}
}

// A copy that does not suffice, or whose segment has a part that was given up, changes neither spans nor file.
func TestReplace_LeavesASegmentThatIsNeeded(t *testing.T) {
	f := &folder{t: t, dir: t.TempDir()}
	set := loaded(f, span(1, 9))
	seg := set.Sealed()[0].Segment
	before, err := os.ReadFile(seg.Path)
	if err != nil {
		t.Fatal(err)
	}
	c := liveset.Copy{
		Path: f.file(4 << 10).Path, Spans: map[string]segment.Span{"s": span(5, 9)},
		Suffices: func(spans map[string]segment.Span) bool { return spans["s"] != span(1, 9) },
		Shrunk:   func() { t.Error("the spans were replaced") },
	}
	if replaced, err := set.Replace(seg, &c); replaced || err != nil {
		t.Errorf("got replaced %v, %v", replaced, err)
	}
	c.Suffices = func(map[string]segment.Span) bool { return true }

	bad, known := set.GiveUp(seg, "s", 3, span(1, 9)) // the file has no block that can be read
	if again, knownNow := set.GiveUp(seg, "s", 3, span(1, 9)); bad != (segment.Run{First: 3, Next: 9}) || known || !knownNow || again != bad {
		t.Errorf("got %v, known %v, then %v, known %v", bad, known, again, knownNow)
	}
	if next, in := set.GivenUp(seg, "s", 3); !in || next != 9 {
		t.Errorf("got %d, %v for an offset in the part, want 9", next, in)
	}
	if _, in := set.GivenUp(seg, "s", 2); in {
		t.Error("an offset before the part counts as given up")
	}
	if !set.Sealed()[0].Damaged || len(set.Parts("s")[0].Bad) != 1 {
		t.Error("the part is not recorded")
	}
	if replaced, err := set.Replace(seg, &c); replaced || err != nil {
		t.Errorf("got replaced %v, %v of a damaged segment", replaced, err)
	}
	if after, err := os.ReadFile(seg.Path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed: %v", err)
	}
}

// The bytes of removed segments count until their files are unlinked, and those of the next segment from SetNext on.
func TestUse_CountsEverySegmentOnce(t *testing.T) {
	f := &folder{t: t, dir: t.TempDir()}
	set := loaded(f, span(1, 9), span(9, 20))
	all := set.Sealed()
	if got, want := set.Use().Sealed, all[0].Size+all[1].Size; got != want || got == 0 {
		t.Fatalf("got %d bytes, want %d", got, want)
	}
	look, _ := set.Look()
	set.Remove([]*liveset.Segment{all[0].Segment}, look)
	if got, want := set.Use(), all[0].Size+all[1].Size; got.Sealed != want || got.Segments != 2 {
		t.Errorf("got %d bytes in %d segments before the unlink, want %d in 2", got.Sealed, got.Segments, want)
	}
	set.Unlinked(all[0].Segment)
	if got := set.Use().Sealed; got != all[1].Size {
		t.Errorf("got %d bytes after the unlink, want %d", got, all[1].Size)
	}

	old, next := set.Newest(), liveset.NewSegment(f.file(128<<10))
	set.SetNext(next)
	if u := set.Use(); u.Next < 128<<10 || u.Preallocated || set.Next() != next {
		t.Errorf("got %+v with a next segment", u)
	}
	set.Roll(old, next)
	if u := set.Use(); u.Next != 0 || !u.Preallocated || u.Newest != next || u.Segments != 3 || u.Sealed <= all[1].Size {
		t.Errorf("got %+v after the roll", u)
	}
	if got := len(set.Sealed()); got != 1 {
		t.Errorf("got %d sealed segments before the newest has begun, want 1", got)
	}
	set.Publish(next, false, func(to liveset.Spans) { to.Put("new", span(1, 3)) })
	if seg, sp := set.Find("new", 0); seg != next || sp != span(1, 3) || next.Preallocated() || len(set.Sealed()) != 2 {
		t.Errorf("got %v after the first commit of the newest", sp)
	}
	below := func(low uint64) func(string, segment.Run) bool {
		return func(_ string, run segment.Run) bool { return low < run.Next }
	}
	if set.Settled(below(2)) || !set.Settled(below(3)) {
		t.Error("the newest segment is settled from offset 3 on, not before")
	}
	if err := set.CloseForGood(); err != nil {
		t.Error(err)
	}
	if files, err := filepath.Glob(filepath.Join(f.dir, "*")); err != nil || len(files) != 4 {
		t.Errorf("got %d files, %v", len(files), err)
	}
}
