package compact_test

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/capacity"
	"github.com/standpipe/standpipe/wal/internal/compact"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// stuck is one destination that needs the events from some offset on, in every stream.
type stuck struct{ from map[string]uint64 }

func (s stuck) Settled() (settled, live uint64) { return 1000, 1 }
func (s stuck) Destinations(string) int         { return 1 }
func (s stuck) Needs(stream string) *compact.Needs {
	n := &compact.Needs{Low: s.from[stream], Lanes: make([][segment.Lanes]segment.Progress, 1)}
	for lane := range n.Lanes[0] {
		n.Lanes[0][lane].Checkpoint = s.from[stream]
	}
	return n
}

// newCompactor returns a Compactor of unreadable segments, each with a hundred events of its own stream, and the log to
// which it writes one line for each attempt.
func newCompactor(t *testing.T, streams []string, d compact.Destinations, atOnce bool) (*compact.Compactor, *bytes.Buffer) {
	t.Helper()
	lines, dir := new(bytes.Buffer), t.TempDir()
	logger := hclog.New(&hclog.LoggerOptions{Output: lines, Level: hclog.Warn})
	set := liveset.New(func() {})
	files := new(segfile.Files)
	for i, name := range append(slices.Clone(streams), "") {
		file := segfile.New(dir, uint64(i+1), files, hclog.NewNullLogger())
		if err := os.WriteFile(file.Path, bytes.Repeat([]byte(name+"."), 128<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			set.Begin(liveset.NewSegment(file))
			break
		}
		set.Load(file, map[string]segment.Span{name: {First: 1, Next: 101}}, false)
	}
	room := capacity.New(capacity.Options{
		Dir: dir, MaxSize: 1 << 30, LeastSize: 1 << 20, SegmentSize: 64 << 10, LargestCommit: 1 << 20,
		Segments: set, Logger: logger, Clock: time.Now,
	})
	return compact.NewCompactor(compact.Options{
		Segments: set, Capacity: room, Destinations: d, SegmentSize: 64 << 10, Files: files, Logger: logger, AtOnce: atOnce,
		Spares: func(*liveset.Segment) bool { return false }, Usable: func() bool { return true }, Closing: make(chan struct{}),
		SyncFolder: func() error { return nil }, Step: func(string) {},
	}), lines
}

var attempt = regexp.MustCompile(`segment not compacted.*(\d)\.seg`)

// attempts returns the numbers of the segments that the Compactor tried, in that order.
func attempts(lines *bytes.Buffer) (seqs []string) {
	for _, m := range attempt.FindAllStringSubmatch(lines.String(), -1) {
		seqs = append(seqs, m[1])
	}
	return seqs
}

// The segment with the fewest needed events comes first, and one whose compaction failed is not tried again.
func TestCompactor_BeginsWithTheSmallestLiveShare(t *testing.T) {
	d := stuck{map[string]uint64{"all": 1, "few": 90, "half": 50}}
	c, lines := newCompactor(t, []string{"all", "few", "half"}, d, true)
	for range 2 {
		c.Start()
		c.Wait()
	}
	if got, want := attempts(lines), []string{"2", "3", "1"}; !slices.Equal(got, want) {
		t.Errorf("got attempts at %v, want %v\n%s", got, want, lines)
	}
}

// Most segments drain by themselves: the first search compacts none.
func TestCompactor_LeavesSegmentsThatMayDrain(t *testing.T) {
	c, lines := newCompactor(t, []string{"few"}, stuck{map[string]uint64{"few": 90}}, false)
	for range 2 { // the second search is due in five seconds
		c.Start()
		c.Wait()
	}
	if got := attempts(lines); len(got) > 0 {
		t.Errorf("got attempts at %v, want none", got)
	}
}
