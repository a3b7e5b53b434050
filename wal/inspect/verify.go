package inspect

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/receipt"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// maxDamage is the most damaged parts that a report lists one by one.
const maxDamage = 10_000

// VerifyProgress is the progress of a Verify, and in the end the total that it has read.
type VerifyProgress struct {
	Segment      string // the one that is being read
	Segments, Of int    // the segments that have been read, and all segments
	Blocks       uint64
	Events       segment.Count
	Bytes        int64 // that the segments read so far occupy on the disk
}

// VerifyReport is the result of a Verify.
type VerifyReport struct {
	VerifyProgress
	// Damage lists the parts of the log that cannot be read or are inconsistent, with their locations: the first
	// 10,000 of them. Damaged counts them all. A log with no damage is sound.
	Damage  []*segment.CorruptError
	Damaged int
	// Notes are findings that are not damage of the log as it stands: segments that were set aside, and offsets that
	// are gone and accounted for.
	Notes []string
}

// Verify reads the whole log in the data directory dir, also beside a running agent, and checks
//   - of every segment: the version, the log's ID, every page that is in use, the state;
//   - of every block: its checksums, that it continues its stream's block before it, its events and their lanes;
//   - of every sealed segment: that its index has its blocks;
//   - of every stream: that the segments join, except for events that every destination has settled or counted as
//     dropped;
//   - of every destination: that the events that its ledger has as pending are in the log.
//
// It changes nothing, and takes no lock. progress may be nil; otherwise it is called for each segment and each block.
// Damage is not an error.
//
// Errors: ErrNoLog; a *VersionError for a file of a later release; those of the file system and of ctx.
func Verify(ctx context.Context, dir string, progress func(VerifyProgress)) (*VerifyReport, error) {
	files, err := listLog(ctx, dir)
	if err != nil {
		return nil, err
	}
	v := &verifying{files: &files, progress: progress, tallies: make(map[string]*tally)}
	v.report.Of = len(files.segments)
	if err := v.readState(ctx); err != nil {
		return nil, err
	}
	for i := range files.segments {
		if err := v.segment(ctx, &files.segments[i]); err != nil {
			return nil, err
		}
	}
	if err := v.judge(ctx, dir); err != nil {
		return nil, err
	}
	v.noteFiles()
	return &v.report, nil
}

// verifying is a Verify under way.
type verifying struct {
	files    *logFiles
	progress func(VerifyProgress)
	report   VerifyReport
	id       string // the ID of the log
	tallies  map[string]*tally
	newest   string // the segment whose state was read

	last       string // the segment that was read last
	lastSealed bool   // it is sealed: a later segment was made
}

func (v *verifying) damaged(err *segment.CorruptError) {
	v.report.Damaged++
	if len(v.report.Damage) < maxDamage {
		v.report.Damage = append(v.report.Damage, err)
	}
}

func (v *verifying) note(format string, args ...any) {
	v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
}

func (v *verifying) tell() {
	if v.progress != nil {
		v.progress(v.report.VerifyProgress)
	}
}

// readState reads the state of the newest readable segment. It does so before any block is read, because a running
// agent continues to settle events. Damage in the state is not reported here but when the segment itself is verified.
func (v *verifying) readState(ctx context.Context) error {
	streams, path, err := v.files.state(ctx)
	for name, s := range streams {
		v.tallies[name] = newTally(s)
	}
	v.newest = path
	return err
}

// state returns the state of the newest readable segment, and the segment's path.
func (l *logFiles) state(ctx context.Context) (streams map[string]*loggedStream, path string, err error) {
	for _, info := range slices.Backward(l.segments) {
		f, _, gone, err := l.open(ctx, &info)
		if segment.IgnoreCorrupt(err) != nil {
			return nil, "", err
		}
		if gone || f == nil {
			continue
		}
		defer f.Close()
		streams, _, err = readState(ctx, f, func(*segment.CorruptError) {})
		return streams, f.Path, err
	}
	return nil, "", nil
}

func (v *verifying) segment(ctx context.Context, info *SegmentInfo) error {
	v.report.Segment = info.Name
	v.tell()
	f, meta, gone, err := v.files.open(ctx, info)
	if err := segment.ReportCorrupt(err, v.damaged); err != nil || gone {
		return err
	}
	v.report.Segments++
	if f == nil {
		return nil
	}
	defer f.Close()
	v.checkMeta(f, meta)
	for _, check := range []func(context.Context, *segment.Pages) error{v.metas, v.buckets, v.state} {
		if err := check(ctx, f); err != nil {
			return err
		}
	}
	if err := v.blocks(ctx, f, meta.Sealed); err != nil {
		return err
	}
	v.report.Bytes += info.Disk
	v.tell()
	return nil
}

func (v *verifying) checkMeta(f *segment.Pages, meta loggedMeta) {
	if v.id == "" {
		v.id = meta.Log
	}
	if meta.Log != v.id {
		v.damaged(&segment.CorruptError{File: f.Path, Reason: fmt.Sprintf("it belongs to the log %q, the segments before it to %q", meta.Log, v.id)})
	}
	v.last, v.lastSealed = f.Path, meta.Sealed
}

func (v *verifying) metas(ctx context.Context, f *segment.Pages) error {
	return segment.ReportCorrupt(f.CheckMetas(ctx), v.damaged)
}

// buckets checks that the file has no unknown bucket.
func (v *verifying) buckets(ctx context.Context, f *segment.Pages) error {
	return f.Elements(ctx, nil, []byte{}, func(e boltpage.Element) error {
		known := slices.ContainsFunc([][]byte{segment.BucketMeta, segment.BucketState, segment.BucketBlocks, segment.BucketIndex, small.Bucket}, func(name []byte) bool { return bytes.Equal(e.Key, name) })
		if !e.Bucket || !known && !recent.IsName(e.Key) {
			v.damaged(&segment.CorruptError{File: f.Path, Reason: fmt.Sprintf("%q is no bucket of a log", e.Key)})
		}
		return nil
	}, segment.Pass(func(*segment.CorruptError) {})) // the blocks' reader reports the damage
}

// state checks all entries of a segment's state.
func (v *verifying) state(ctx context.Context, f *segment.Pages) error {
	found := false
	err := f.Elements(ctx, segment.BucketState, []byte{}, func(e boltpage.Element) error {
		found = true
		if fault := stateFault(e, f.Summed); fault != nil {
			v.damaged(&segment.CorruptError{File: f.Path, Reason: fmt.Sprintf("state: %v", fault)})
		}
		return nil
	}, segment.Pass(v.damaged))
	if err != nil || found {
		return err
	}
	return segment.ReportCorrupt(f.Sound(ctx, func(s *boltpage.Snapshot) error {
		if t, err := s.Bucket(segment.BucketState); t == nil && err == nil {
			return f.Corrupt("the state is missing")
		}
		return nil
	}), v.damaged)
}

// stateFault decodes an entry of the state and returns the fault.
func stateFault(e boltpage.Element, summed bool) error {
	value, err := segment.StateValue(e.Key, e.Value, summed)
	if err != nil {
		return err
	}
	kind, names, ok := segment.SplitStateKey(e.Key)
	if !ok || len(names) == 0 {
		return fmt.Errorf("a key of %d bytes is malformed", len(e.Key))
	}
	switch {
	case kind == segment.StateStream:
		return new(segment.StreamState).Decode(value)
	case kind == segment.StateCursor && len(names) == 2:
		return new(segment.CursorState).Decode(value)
	case kind == segment.StateProducer && len(names) == 2:
		return new(segment.ProducerState).Decode(value)
	case kind == segment.StateReceipt && len(names) == 2:
		return receipt.Check(names[0], names[1], value)
	}
	return nil
}

// noteFiles adds a note for each file that is no part of the log any more.
func (v *verifying) noteFiles() {
	for _, f := range v.files.setAside {
		v.note("%s (%d bytes) was set aside by an agent that could not read it; it is no part of the log any more", f.Name, f.Size)
	}
	for _, f := range v.files.unfinished {
		v.note("%s (%d bytes) was not finished before a crash, or is about to be; it holds no event", f.Name, f.Size)
	}
}
