package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/reread"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Options of a Scan.
type Options struct {
	Dir    string // of the segments
	Files  *segfile.Files
	Logger hclog.Logger

	Marked        uint64 // the number of the marker, see segfile.FindMarker
	SegmentSize   int64  // today's size of a segment
	MaxSize       int64  // today's limit of the log
	LargestCommit int64  // the most bytes that one commit adds
}

// State takes the entries of the state.
type State interface {
	// Reset drops all entries. The entries that follow are of a segment in which new streams begin after base.
	Reset(base uint64)
	// Begin is called before the entries of a segment's state and its numbered batches.
	Begin(seq uint64)
	// Load adds an entry. names has at least one name. Kinds of a later release are no error.
	Load(kind byte, names []string, value []byte) error
	// Replay takes a numbered batch that the segment has, after all its entries, in the order of the commits.
	Replay(b *segment.Block, n *segment.Note)
}

// Segment is a readable segment, which is closed.
type Segment struct {
	*segfile.File
	Spans  map[string]segment.Span
	Gapped bool // it was compacted, and lacks some events
}

// Result is the content of the folder.
type Result struct {
	ID       string    // of the log; "": no segment names it
	Base     uint64    // new streams begin after this offset
	Segments []Segment // oldest first
	MadeAt   []byte    // the birthplace in the newest of them; nil: it has none

	Whole bool          // the newest segment may take appends
	Ready *segfile.File // made ready to follow the newest, and has not begun; nil: none is
	Last  uint64        // the highest number of any segment, past or present
	// Continued: the newest segment lacks entries of producers that the segment before it has. Incomplete: those, or some
	// of the producers' notes, could not be read.
	Continued, Incomplete bool

	Lost int64 // the most bytes of stored blocks that newer segments, or the end of the newest, may have lost

	damaged []damagedSegment
}

// damagedSegment is a segment to set aside.
type damagedSegment struct {
	file   *segfile.File
	reason error
}

// scan is a Scan under way.
type scan struct {
	Result
	o       Options
	state   State
	longest int64             // the length of the longest segment file
	lowest  map[string]uint64 // the first offset of each stream in the segments so far
}

// Scan reads the folder, and loads the state of the newest readable segment.
func Scan(ctx context.Context, o Options, state State) (*Result, error) {
	seqs, err := segment.ListSegments(o.Dir)
	if err != nil {
		return nil, err
	}
	s := scan{o: o, state: state, lowest: make(map[string]uint64)}
	s.Last = max(highestAside(o.Dir), o.Marked)
	for _, seq := range seqs {
		s.longest = max(s.longest, disk.Length(s.file(seq).Path))
	}
	if seqs, err = s.takeReady(ctx, seqs); err != nil {
		return nil, err
	}
	if newest := slices.Max(append(seqs, 0)); newest < s.Last {
		s.lose(0) // an earlier Open set it aside and did not finish, or the file is gone
	}
	for _, seq := range slices.Backward(seqs) {
		s.Last = max(s.Last, seq)
		if err := s.load(ctx, seq); err != nil {
			return nil, err
		}
	}
	slices.Reverse(s.Segments)
	return &s.Result, nil
}

// Missing returns the most segments that may be lost after the newest readable one, at least one.
func (r *Result) Missing() uint64 {
	newest := uint64(0)
	if n := len(r.Segments); n > 0 {
		newest = r.Segments[n-1].Seq
	}
	return max(r.Last-newest, 1)
}

// lose counts the newest segment as lost, with size bytes left of it. It may have been written under a larger
// SegmentSize or MaxSize than today's, so the lengths of the other segments count too.
func (s *scan) lose(size int64) {
	full := min(max(s.o.SegmentSize, s.longest)+s.o.LargestCommit, max(s.o.MaxSize, s.longest, size))
	s.Lost = max(s.Lost, full, size)
}

// takeReady removes the last segment from the list if it was made ready and has not begun. It holds no event, and
// proves that there was a segment before it.
func (s *scan) takeReady(ctx context.Context, seqs []uint64) ([]uint64, error) {
	n := len(seqs)
	if n == 0 {
		return nil, nil
	}
	file, empty := s.file(seqs[n-1]), false
	var m segment.Meta
	err := reread.Twice(ctx, func() error {
		err := file.View(func(r segment.Reader) (err error) {
			empty = r.Bucket(segment.BucketState) == nil && r.Bucket(segment.BucketBlocks) == nil
			m, err = file.Meta(r)
			return err
		})
		return errors.Join(err, file.Close())
	})
	switch {
	case segment.Damaged(err): // load sets it aside
		return seqs, nil
	case err != nil || !empty:
		return seqs, err
	}
	s.Ready, s.ID, s.Base = file, m.Log, m.Base
	s.Last = max(s.Last, file.Seq-1)
	return seqs[:n-1], nil
}

func (s *scan) file(seq uint64) *segfile.File {
	return segfile.New(s.o.Dir, seq, s.o.Files, s.o.Logger)
}

// load adds a segment to the readable or to the damaged ones. The newest is loaded first. All of it is checked, since a
// crash may have interrupted a write to it, and since it holds the log's state.
func (s *scan) load(ctx context.Context, seq uint64) error {
	seg := Segment{File: s.file(seq)}
	newest := len(s.Segments) == 0
	before := s.Result
	err := reread.Twice(ctx, func() error {
		s.Result = before
		read := s.readOlder
		if newest {
			read = s.readNewest
		}
		return errors.Join(read(&seg), seg.Close())
	})
	if !segment.Damaged(err) && err != nil {
		return err
	}
	if err == nil {
		s.Segments = append(s.Segments, seg)
		return nil
	}
	if newest {
		s.Whole, s.Continued = false, false // its meta bucket may have been good
		s.lose(disk.Length(seg.Path))
		s.resetState(0)
	}
	s.damaged = append(s.damaged, damagedSegment{seg.File, err})
	return nil
}

func (s *scan) resetState(base uint64) {
	s.Base = base
	s.state.Reset(base)
}

// meta checks that the file is the segment of its name.
func (seg *Segment) meta(r segment.Reader) (segment.Meta, error) {
	m, err := seg.Meta(r)
	if err == nil {
		seg.Gapped = m.Gapped
	}
	return m, err
}

// readNewest reads all of the newest segment, and loads its state.
func (s *scan) readNewest(seg *Segment) error {
	s.resetState(0)
	spans, doubtful, err := seg.Check()
	if err != nil {
		return err
	}
	seg.Spans = spans
	var m segment.Meta
	err = seg.View(func(r segment.Reader) error {
		if m, err = seg.meta(r); err != nil {
			return err
		}
		s.ID, s.MadeAt = m.Log, m.MadeAt
		s.Whole = seg.Seq == s.Last && !m.Sealed && !doubtful
		switch {
		case seg.Seq == s.Last && m.Sealed && s.Ready == nil:
			s.Last++
			s.lose(0)
		case doubtful && s.Lost == 0:
			s.Lost = min(s.o.LargestCommit, s.o.MaxSize)
		}
		s.resetState(m.Base)
		if s.Continued = segment.Continued(r); s.Continued {
			if err := s.loadBefore(seg.Seq); err != nil {
				return err
			}
		}
		return s.loadState(r, seg, func(byte) bool { return true })
	})
	if err != nil {
		return err
	}
	s.noteLowest(seg)
	if !m.Sealed {
		return nil
	}
	seg.Sealed() // the file has an index
	seg.Spans, err = seg.File.Spans()
	return err
}

// loadBefore loads the producers of the segment before seq, which has all of them.
func (s *scan) loadBefore(seq uint64) error {
	seg := Segment{File: s.file(seq - 1)}
	err := s.loadProducers(&seg)
	err = errors.Join(err, seg.Close())
	if segment.Damaged(err) || errors.Is(err, os.ErrNotExist) {
		s.Incomplete = true
		s.o.Logger.Error("producers of a damaged segment unknown; each may continue with any sequence", "segment", seg.Path, "error", err)
		return nil
	}
	return err
}

// loadProducers loads the producers of a segment.
func (s *scan) loadProducers(seg *Segment) error {
	if _, _, err := seg.Check(); err != nil {
		return err
	}
	return seg.View(func(r segment.Reader) error {
		if err := s.olderMeta(seg, r); err != nil {
			return err
		}
		return s.loadState(r, seg, func(kind byte) bool { return kind == segment.StateProducer })
	})
}

// loadState reads the entries of a segment's state that are of the wanted kinds, and then its notes of producers.
func (s *scan) loadState(r segment.Reader, seg *Segment, wanted func(kind byte) bool) error {
	s.state.Begin(seg.Seq)
	state := r.Bucket(segment.BucketState)
	if state == nil {
		return &segment.CorruptError{File: seg.Path, Reason: "the state is missing"}
	}
	for k, stored := state.Next(); k != nil; k, stored = state.Next() {
		if len(k) > 0 && !wanted(k[0]) {
			continue
		}
		v, err := segment.StateValue(k, stored, seg.Summed())
		if err == nil && (len(k) == 0 || k[0] != segment.StateContinued) {
			err = s.loadEntry(k, v)
		}
		if err != nil {
			return segment.InFile(seg.Path, err)
		}
	}
	err := seg.EachNote(r, s.state.Replay)
	if errors.Is(err, segment.ErrNotes) {
		s.Incomplete = true
		s.o.Logger.Error("notes of producers damaged; each may continue with any sequence, and what it resends may be stored again",
			"segment", seg.Path, "error", err)
		return nil
	}
	return err
}

func (s *scan) loadEntry(k, v []byte) error {
	kind, names, ok := segment.SplitStateKey(k)
	if !ok || len(names) == 0 {
		return fmt.Errorf("a state key of %d bytes is malformed", len(k))
	}
	return s.state.Load(kind, names, v)
}

// olderMeta checks that the file is the segment of its name, of the same log as the newest.
func (s *scan) olderMeta(seg *Segment, r segment.Reader) error {
	m, err := seg.meta(r)
	if err == nil && m.Log != s.ID {
		err = &segment.CorruptError{File: seg.Path, Reason: "it belongs to another log"}
	}
	return err
}

// readOlder checks that the segment is an older one of the same log, and reads its spans.
func (s *scan) readOlder(seg *Segment) error {
	err := seg.View(func(r segment.Reader) error { return s.olderMeta(seg, r) })
	if err == nil {
		err = seg.KnownBlocks()
	}
	if err == nil {
		seg.Spans, err = seg.File.Spans()
	}
	if err != nil {
		return err
	}
	for name, sp := range seg.Spans {
		if low, ok := s.lowest[name]; ok && sp.Next > low {
			return &segment.CorruptError{File: seg.Path, Stream: name, Offset: sp.First, Reason: fmt.Sprintf("it ends at %d, a later segment begins at %d", sp.Next, low)}
		}
	}
	s.noteLowest(seg)
	return nil
}

func (s *scan) noteLowest(seg *Segment) {
	for name, sp := range seg.Spans {
		s.lowest[name] = sp.First
	}
}

// Apply makes the folder agree with the result. It makes the last commit of the newest segment durable, and removes a torn
// one, which was not acked. It renames the damaged segments, which are kept for examination, and removes the unfinished
// segments of a crash, which hold no event.
func (r *Result) Apply(o Options) error {
	if n := len(r.Segments); n > 0 {
		newest := r.Segments[n-1]
		torn, err := newest.Secure()
		if err != nil {
			return err
		}
		if torn {
			o.Logger.Warn("the last commit of the log was interrupted before its sync and is removed; none of it was acked", "segment", newest.Path)
		}
	}
	for _, d := range r.damaged {
		if err := d.file.SetAside(); err != nil {
			return err
		}
		o.Logger.Error("a segment can't be read and was set aside", "segment", d.file.Path, "error", d.reason)
	}
	left, err := disk.Files(o.Dir, func(name string) bool { return strings.HasSuffix(name, segment.UnfinishedSuffix) })
	if err != nil {
		return fmt.Errorf("list unfinished segments: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove unfinished segment: %w", err)
		}
	}
	return nil
}

// highestAside returns the highest number of the segments that were set aside, so that none of their names is used
// again.
func highestAside(dir string) (highest uint64) {
	aside, _ := disk.Files(dir, segment.IsAside) // of a directory that was listed before
	for _, path := range aside {
		if seq, ok := segment.AsideSeqOf(path); ok {
			highest = max(highest, seq)
		}
	}
	return highest
}
