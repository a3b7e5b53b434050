package recovery_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/internal/recovery"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

const (
	segmentSize   = 64 << 10
	largestCommit = 1 << 20
)

// folder is the folder of a closed log with a few segments.
type folder struct {
	t     *testing.T
	dir   string
	files segfile.Files
	seqs  []uint64
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: segmentSize})
	_, err := l.OpenCursor("s", "d")
	testkit.Must(t, err)
	for l.Stat().Segments < 4 {
		testkit.AppendOne(t, l, "s", "k", strings.Repeat("x", 5000))
	}
	testkit.AppendOne(t, l, "s", "k", "in the newest")
	testkit.Must(t, l.Close())
	f := &folder{t: t, dir: filepath.Join(dir, "wal")}
	f.seqs, err = segment.ListSegments(f.dir)
	testkit.Must(t, err)
	return f
}

func (f *folder) path(seq uint64) string { return filepath.Join(f.dir, segment.FileName(seq)) }

func (f *folder) newest() uint64 { return f.seqs[len(f.seqs)-1] }

func (f *folder) options() recovery.Options {
	return recovery.Options{Dir: f.dir, Files: &f.files, Logger: hclog.NewNullLogger(), Marked: f.newest(),
		SegmentSize: segmentSize, MaxSize: 64 << 20, LargestCommit: largestCommit}
}

// content returns the files of the folder with their bytes.
func (f *folder) content() map[string]string {
	f.t.Helper()
	entries, err := os.ReadDir(f.dir)
	testkit.Must(f.t, err)
	all := make(map[string]string)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
		testkit.Must(f.t, err)
		all[e.Name()] = string(b)
	}
	return all
}

// scan scans the folder, and checks that no file changes.
func (f *folder) scan() (*recovery.Result, *state) {
	f.t.Helper()
	before, got := f.content(), &state{t: f.t}
	found, err := recovery.Scan(f.t.Context(), f.options(), got)
	testkit.Must(f.t, err)
	if !maps.Equal(f.content(), before) {
		f.t.Error("the scan has changed a file")
	}
	return found, got
}

// state keeps the entries since the last Reset.
type state struct {
	t       *testing.T
	reset   bool
	streams map[string]segment.StreamState
	cursors []string
}

func (s *state) Reset(uint64) {
	*s = state{t: s.t, reset: true, streams: make(map[string]segment.StreamState)}
}

func (s *state) Load(kind byte, names []string, value []byte) error {
	if !s.reset || len(names) == 0 {
		s.t.Errorf("an entry with the names %q, Reset before: %v", names, s.reset)
	}
	switch kind {
	case segment.StateStream:
		var at segment.StreamState
		err := at.Decode(value)
		s.streams[names[0]] = at
		return err
	case segment.StateCursor:
		s.cursors = append(s.cursors, strings.Join(names, "/"))
	}
	return nil
}

func (s *state) Begin(uint64) {}

func (s *state) Replay(*segment.Block, *segment.Note) {}

func seqsOf(found *recovery.Result) (seqs []uint64) {
	for _, s := range found.Segments {
		seqs = append(seqs, s.Seq)
	}
	return seqs
}

// All segments of a sound log are there with their spans, and its newest one may take appends.
func TestScan_OfASoundLog(t *testing.T) {
	f := newFolder(t)
	found, got := f.scan()
	if !slices.Equal(seqsOf(found), f.seqs) || !found.Whole || found.Lost != 0 || found.Last != f.newest() || found.ID == "" || found.Ready != nil {
		t.Errorf("got segments %v and %+v, want the whole segments %v", seqsOf(found), found, f.seqs)
	}
	next := uint64(1)
	for _, s := range found.Segments {
		sp := s.Spans["s"]
		if sp.First != next || sp.Next < sp.First {
			t.Errorf("segment %d: got span %+v, want it from %d on", s.Seq, sp, next)
		}
		next = max(next, sp.Next)
	}
	if !slices.Equal(got.cursors, []string{"s/d"}) || got.streams["s"].Next == 0 || got.streams["s"].Next > next {
		t.Errorf("got the state %+v, want a destination of a stream that ends at %d", got, next)
	}
}

// A segment that cannot be read, or is gone, costs no other. If it is the newest, the one before it has the state, and
// events may be lost with it; another Scan of the same folder finds the same, also after Apply.
func TestScan_OfADamagedLog(t *testing.T) {
	spoil := func(f *folder, seq uint64) {
		testkit.Overwrite(f.t, f.path(seq), 0, make([]byte, testkit.FileLength(f.t, f.path(seq))))
	}
	for name, c := range map[string]struct {
		damage func(f *folder, newest uint64)
		gone   uint64 // the number of the segment that is not found, counted from the newest
		aside  bool
		lost   bool
	}{
		"newest spoilt":  {damage: spoil, aside: true, lost: true},
		"newest removed": {damage: func(f *folder, newest uint64) { testkit.Must(f.t, os.Remove(f.path(newest))) }, lost: true},
		"older spoilt":   {damage: func(f *folder, newest uint64) { spoil(f, newest-1) }, gone: 1, aside: true},
		"older removed":  {damage: func(f *folder, newest uint64) { testkit.Must(f.t, os.Remove(f.path(newest-1))) }, gone: 1},
		"of another log": {damage: func(f *folder, newest uint64) {
			b, err := os.ReadFile(newFolder(f.t).path(newest - 1))
			testkit.Must(f.t, err)
			testkit.Must(f.t, os.WriteFile(f.path(newest-1), b, 0o600))
		}, gone: 1, aside: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			gone := f.newest() - c.gone
			want := slices.DeleteFunc(slices.Clone(f.seqs), func(seq uint64) bool { return seq == gone })
			c.damage(f, f.newest())
			for round := range 2 {
				found, got := f.scan()
				if !slices.Equal(seqsOf(found), want) || found.Whole == c.lost || (found.Lost > 0) != c.lost || found.Last != f.newest() || found.Missing() != 1 {
					t.Errorf("round %d: got segments %v and %+v, want the segments %v, lost: %v", round, seqsOf(found), found, want, c.lost)
				}
				if c.lost && found.Lost < segmentSize {
					t.Errorf("round %d: got %d bytes lost, and a segment has %d", round, found.Lost, segmentSize)
				}
				if !slices.Equal(got.cursors, []string{"s/d"}) {
					t.Errorf("round %d: got the destinations %v", round, got.cursors)
				}
				testkit.Must(t, found.Apply(f.options()))
				if _, err := os.Stat(f.path(gone) + segment.CorruptSuffix); (err == nil) != c.aside {
					t.Errorf("round %d: got %v for the segment that is set aside, want it: %v", round, err, c.aside)
				}
			}
		})
	}
}

// The newest segment is lost, and neither a marker nor its file proves that it has been there: the one before it is
// marked as sealed.
func TestScan_OfASealedSegmentWithoutSuccessor(t *testing.T) {
	f := newFolder(t)
	testkit.Must(t, os.Remove(f.path(f.newest())))
	o := f.options()
	o.Marked = 0
	found, err := recovery.Scan(t.Context(), o, &state{t: t})
	if err != nil || found.Whole || found.Lost < segmentSize || found.Last != f.newest() || found.Missing() != 1 {
		t.Errorf("got %+v, %v, want segment %d lost", found, err, f.newest())
	}
}

// All segments are gone, or set aside: the marker, or the names of those, prove the newest one. Its number is not used again.
func TestScan_OfALogWithoutSegments(t *testing.T) {
	for _, marked := range []bool{false, true} {
		f := newFolder(t)
		for _, seq := range f.seqs {
			if marked {
				testkit.Must(t, os.Remove(f.path(seq)))
			} else {
				testkit.Must(t, os.Rename(f.path(seq), f.path(seq)+segment.CorruptSuffix))
			}
		}
		o := f.options()
		if !marked {
			o.Marked = 0
		}
		found, err := recovery.Scan(t.Context(), o, &state{t: t})
		testkit.Must(t, err)
		if len(found.Segments) > 0 || found.Whole || found.Lost < segmentSize || found.Last != f.newest() || found.Missing() != f.newest() {
			t.Errorf("marked: %v: got %+v, want the %d segments lost", marked, found, f.newest())
		}
	}
}

// A segment that a crash left unfinished has no event: it is removed, though not by Scan.
func TestApply_RemovesUnfinishedSegments(t *testing.T) {
	f := newFolder(t)
	unfinished := f.path(f.newest()+1) + segment.UnfinishedSuffix
	testkit.Must(t, os.WriteFile(unfinished, []byte("half"), 0o600))
	found, _ := f.scan()
	testkit.Must(t, found.Apply(f.options()))
	if _, err := os.Stat(unfinished); !os.IsNotExist(err) || !found.Whole || found.Last != f.newest() {
		t.Errorf("got %v for the unfinished segment and %+v, want it removed and the log whole", err, found)
	}
}
