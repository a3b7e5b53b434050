package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/bounds"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/lastcommit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// ErrNoLog is wrapped by Inspect, Dump, Verify and Snapshot when the directory holds no log.
var ErrNoLog = errors.New("wal: no log here")

// SegmentState is the role of a segment's file in the log.
type SegmentState string

// The states of a segment.
const (
	SegmentActive     SegmentState = "active"     // the newest: it takes the appends when an agent runs
	SegmentSealed     SegmentState = "sealed"     // no append changes it any more
	SegmentReady      SegmentState = "ready"      // made ready to follow the newest; it has not begun and holds nothing
	SegmentUnreadable SegmentState = "unreadable" // its content can't be determined
)

// Inspection is the content of a data directory's log. It is read from the indexes of the segments and from the newest
// segment, which is read whole. Inspect reads no other blocks; Verify does.
type Inspection struct {
	ID       string
	Segments []SegmentInfo // oldest first
	// SetAside are the segments that an agent could not read and set aside. Unfinished are segments that a crash left
	// incomplete; they never held an event.
	SetAside, Unfinished []FileInfo
	Streams              []StreamStat      // by name
	Cursors              []InspectedCursor // by stream and destination
	Missing              []MissingRun      // by stream and offset
}

// FileInfo is a file of the log.
type FileInfo struct {
	Name string // within the data directory
	Disk int64  // bytes that it occupies
	Size int64  // its length
}

// StreamStat is a stream at one instant.
type StreamStat = segment.StreamStat

// SegmentInfo describes a segment's file and its content.
type SegmentInfo struct {
	FileInfo
	Seq     uint64
	State   SegmentState
	Fault   string // why it is unreadable
	Streams []SegmentStream
}

// SegmentStream is the part of a stream that a segment holds: the offsets [First, Next), or some of them if the
// segment was compacted.
type SegmentStream struct {
	Stream      string
	First, Next uint64
	Held        segment.Count
	// Live counts the events at or beyond the lowest checkpoint of the stream's destinations. For a compacted segment
	// it is an upper bound. The segment can't be truncated while Live is above 0. In a stream without a destination
	// all events are live.
	Live uint64
}

// InspectedCursor is a destination's cursor as it was last written.
type InspectedCursor struct {
	Stream, Destination string
	segment.Ledger
	Checkpoint        uint64
	Appended, Pending segment.Count
	Parking           segment.Parking // since an agent found that the destination is not configured any more
	Paused            time.Time       // since when an operator has paused the destination; zero: it is not paused
}

// logFiles is the listing of a log's directory.
type logFiles struct {
	dir                  string
	segments             []SegmentInfo // that have begun, oldest first
	ready                *SegmentInfo  // the next segment, which has not begun
	begun                uint64        // the highest number in the name of a begun file; 0: none
	setAside, unfinished []FileInfo
	torn                 map[uint64]uint64 // by segment: the transaction to ignore, see ignoreTorn
}

// listLog lists the log of a data directory. A file that disappears meanwhile is left out: it was truncated. A segment
// that has not begun is kept apart, in ready: events that an agent appends to it come after all events of the other
// segments, so a caller that reads the segments one by one must not read it.
func listLog(ctx context.Context, dir string) (files logFiles, err error) {
	files.dir, files.torn = filepath.Join(dir, "wal"), make(map[uint64]uint64)
	entries, err := os.ReadDir(files.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err == nil {
			return files, fmt.Errorf("%w: %s has no folder wal", ErrNoLog, dir)
		}
	}
	if err != nil {
		return files, fmt.Errorf("list log: %w", err)
	}
	for _, e := range entries {
		files.add(e.Name())
	}
	slices.SortFunc(files.segments, func(a, b SegmentInfo) int { return cmp.Compare(a.Seq, b.Seq) })
	if len(files.segments) == 0 && len(files.setAside) == 0 {
		return files, fmt.Errorf("%w: %s has no segment", ErrNoLog, files.dir)
	}
	dead, err := disk.Files(dir, segment.IsDeadAside)
	if err != nil {
		return files, fmt.Errorf("list dead letters: %w", err)
	}
	for _, path := range dead {
		if disk, size, ok := disk.Sizes(path); ok {
			files.setAside = append(files.setAside, FileInfo{Name: filepath.Base(path), Disk: disk, Size: size})
		}
	}
	return files, files.takeReady(ctx)
}

// takeReady moves the last segment from segments to ready if it has not begun.
func (l *logFiles) takeReady(ctx context.Context) error {
	n := len(l.segments)
	if n == 0 {
		return nil
	}
	f, meta, _, err := l.open(ctx, &l.segments[n-1])
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	if meta.preallocated {
		l.ready = &l.segments[n-1]
		l.segments = l.segments[:n-1]
	}
	return segment.IgnoreCorrupt(err) // the segment's reader reports the damage
}

func (l *logFiles) add(name string) {
	disk, size, ok := disk.Sizes(filepath.Join(l.dir, name))
	if !ok {
		return
	}
	info := FileInfo{Name: filepath.Join("wal", name), Disk: disk, Size: size}
	seq, isSegment := segment.SeqOf(name)
	begun, isNote := segment.MarkerSeqOf(name)
	switch {
	case isNote:
		l.begun = max(l.begun, begun)
	case isSegment:
		l.segments = append(l.segments, SegmentInfo{FileInfo: info, Seq: seq})
	case strings.HasSuffix(name, segment.UnfinishedSuffix):
		l.unfinished = append(l.unfinished, info)
	case segment.IsAside(name):
		l.setAside = append(l.setAside, info)
	}
}

func (l *logFiles) path(s *SegmentInfo) string { return filepath.Join(l.dir, filepath.Base(s.Name)) }

// loggedMeta is a segment's meta, and whether the segment has begun.
type loggedMeta struct {
	segment.Meta
	preallocated bool // it has not begun
}

// open opens a segment and checks that it is one. gone: the segment has been truncated since it was listed.
func (l *logFiles) open(ctx context.Context, s *SegmentInfo) (f *segment.Pages, meta loggedMeta, gone bool, err error) {
	f, err = segment.InspectPages(l.path(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, meta, true, nil
	}
	if err != nil {
		return nil, meta, false, l.unreadable(s, err)
	}
	f.Seq = s.Seq
	l.ignoreTorn(f)
	err = f.Sound(ctx, func(snap *boltpage.Snapshot) (err error) {
		meta, err = readLoggedMeta(snap, f.Path)
		return err
	})
	if err != nil {
		return nil, meta, false, errors.Join(err, f.Close())
	}
	f.Summed = meta.Summed
	return f, meta, false, nil
}

// ignoreTorn makes f ignore a commit that a power loss has torn, if it is the newest segment. The agent removes such a
// commit when it opens the log.
func (l *logFiles) ignoreTorn(f *segment.Pages) {
	if n := len(l.segments); n == 0 || l.segments[n-1].Seq != f.Seq {
		return
	}
	tx, known := l.torn[f.Seq]
	if !known {
		tx = lastcommit.Torn(f.Path, f.Seq)
		l.torn[f.Seq] = tx
	}
	f.Before(tx)
}

// unreadable turns an error of opening a file, such as a missing permission, into an error about that file.
func (l *logFiles) unreadable(s *SegmentInfo, err error) error {
	if segment.AsCorrupt(err) != nil {
		return err
	}
	return segment.InFile(l.path(s), err)
}

// readLoggedMeta checks that the file is a segment of a standpipe log.
func readLoggedMeta(s *boltpage.Snapshot, path string) (m loggedMeta, err error) {
	if m.Meta, err = segment.ReadPagesMeta(s, path); err == nil {
		m.preallocated, err = isPreallocated(s)
	}
	return m, err
}

// isPreallocated reports whether the segment has not begun.
func isPreallocated(s *boltpage.Snapshot) (bool, error) {
	for _, name := range [][]byte{segment.BucketState, segment.BucketBlocks} {
		if t, err := s.Bucket(name); t != nil || err != nil {
			return false, segment.IgnoreCorrupt(err) // the bucket's reader reports the damage
		}
	}
	return true, nil
}

// Inspect returns the content of the log in the data directory dir, also beside a running agent. It opens files for
// reading, takes no lock and changes nothing. Damage makes a segment unreadable and is not an error.
//
// Errors: ErrNoLog; a *VersionError for a file of a later release; those of the file system and of ctx.
func Inspect(ctx context.Context, dir string) (*Inspection, error) {
	files, err := listLog(ctx, dir)
	if err != nil {
		return nil, err
	}
	in := &Inspection{SetAside: files.setAside, Unfinished: files.unfinished}
	r := inspecting{Inspection: in, streams: make(map[string]*loggedStream), first: make(map[string]uint64)}
	if files.ready != nil {
		files.segments = append(files.segments, *files.ready)
	}
	for i := len(files.segments) - 1; i >= 0; i-- {
		if err := r.segment(ctx, &files, files.segments[i]); err != nil {
			return nil, err
		}
	}
	slices.Reverse(in.Segments)
	r.finish()
	r.findMissing()
	return in, nil
}

// inspecting is an Inspect in progress. It visits the segments from the newest to the oldest.
type inspecting struct {
	*Inspection
	streams map[string]*loggedStream
	stated  bool              // streams was read, from the newest readable segment
	first   map[string]uint64 // the oldest offset held
}

func (r *inspecting) segment(ctx context.Context, files *logFiles, info SegmentInfo) error {
	f, meta, gone, err := files.open(ctx, &info)
	if gone {
		return nil
	}
	fault := func(err *segment.CorruptError) {
		info.State, info.Fault = SegmentUnreadable, err.Error()
	}
	if err := segment.ReportCorrupt(err, fault); err != nil {
		return err
	}
	if f != nil {
		defer f.Close()
		info.State = r.stateOf(meta)
		if r.ID == "" {
			r.ID = meta.Log
		}
	}
	if f != nil && !meta.preallocated {
		if err := r.content(ctx, f, &info, meta.Held, fault); err != nil {
			return err
		}
	}
	r.Segments = append(r.Segments, info)
	return nil
}

// stateOf returns a segment's state. The segment after it, if there is one, is the last in r.Segments.
func (r *inspecting) stateOf(meta loggedMeta) SegmentState {
	n := len(r.Segments)
	switch {
	case meta.preallocated:
		return SegmentReady
	case meta.Sealed || n > 0 && r.Segments[n-1].State != SegmentReady:
		return SegmentSealed
	}
	return SegmentActive
}

func (r *inspecting) content(ctx context.Context, f *segment.Pages, info *SegmentInfo, rewritten map[string]segment.Count, fault func(*segment.CorruptError)) (err error) {
	var spans map[string]segment.Span
	if r.stated {
		spans, err = f.Spans(ctx, fault)
	} else {
		r.streams, spans, err = readState(ctx, f, fault)
		r.stated = true
	}
	if err != nil {
		return err
	}
	for _, name := range segment.SortedKeys(spans) {
		r.hold(info, name, spans[name], rewritten)
	}
	return nil
}

// hold adds the part of a stream that a segment holds: all of the span, or fewer events if the segment was compacted.
func (r *inspecting) hold(info *SegmentInfo, name string, sp segment.Span, rewritten map[string]segment.Count) {
	s := r.streams[name]
	if s == nil {
		s = &loggedStream{name: name}
		r.streams[name] = s
	}
	if sp.Next > s.appended.Events+1 {
		s.appended = segment.Count{Events: sp.Next - 1, Bytes: sp.After}
	}
	held := sp.Count()
	if rewritten != nil {
		held = rewritten[name]
	}
	info.Streams = append(info.Streams, SegmentStream{
		Stream: name, First: sp.First, Next: sp.Next, Held: held,
		Live: min(events(within(segment.Run{First: sp.First, Next: sp.Next}, s.needed())), held.Events),
	})
	r.first[name] = sp.First
}

// finish lists the streams and the cursors.
func (r *inspecting) finish() {
	for _, name := range segment.SortedKeys(r.streams) {
		s := r.streams[name]
		st := segment.StreamStat{Name: name, Next: s.appended.Events + 1, First: s.appended.Events + 1, Appended: s.appended}
		if first, held := r.first[name]; held {
			st.First = first
		}
		r.Streams = append(r.Streams, st)
		slices.SortFunc(s.places, func(a, b loggedCursor) int { return cmp.Compare(a.name, b.name) })
		for i := range s.places {
			p := &s.places[i]
			c := InspectedCursor{
				Stream: name, Destination: p.name, Ledger: p.at.Ledger.Clone(),
				Checkpoint: min(p.at.Needed().First, s.appended.Events+1), Appended: s.appended, Pending: s.pending(p),
				Parking: p.at.Parking, Paused: p.at.Paused,
			}
			if missed := s.appended.Sub(p.at.Parking.Kept(s.appended)); missed.Events > 0 {
				c.Drop(bounds.DroppedParked, missed)
			}
			r.Cursors = append(r.Cursors, c)
		}
	}
}
