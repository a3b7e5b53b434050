package inspect

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// maxDamage bounds the damage that a report lists one by one.
const maxDamage = 10_000

// VerifyProgress is how far a Verify has come, and in the end what it has read.
type VerifyProgress struct {
	Segment      string // the one that is being read
	Segments, Of int    // that have been read, and that there are
	Blocks       uint64
	Events       segment.Count
	Bytes        int64 // that the segments occupy which have been read
}

// VerifyReport is what a Verify found.
type VerifyReport struct {
	VerifyProgress
	// Damage are the parts of the log that can't be read or do not fit, with their places: the
	// first 10,000 of them. Damaged counts them all. A log without any is sound.
	Damage  []*segment.CorruptError
	Damaged int
	// Notes tell of what is worth knowing and no damage of the log as it stands: segments that were
	// set aside, and offsets that are gone and accounted for.
	Notes []string
}

// Verify reads all of the log in the data directory dir, also beside a running agent, and checks
//   - of every segment: the version, the log's id, every page that is in use, the state;
//   - of every block: its sum, that it continues its stream's block before it, its events and their lanes;
//   - of every sealed segment: that its index has its blocks;
//   - of every stream: that the segments join, but for what every destination has settled or
//     counted as dropped;
//   - of every destination: that what its ledger says is pending is in the log.
//
// It changes nothing, and takes no lock. progress, when set, is called often. Damage is no error.
//
// Errors: ErrNoLog; what the file system says of the directory; ctx's.
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
	id       string // the log's
	tallies  map[string]*tally
	newest   string // the segment whose state was read

	last       string // the segment that was read last
	lastSealed bool   // it says that there is a later one
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

// readState reads the state of the newest segment that can be read, before any block: an agent
// that runs goes on settling. What is wrong with it is told when the segment's turn comes.
func (v *verifying) readState(ctx context.Context) error {
	streams, path, err := v.files.state(ctx)
	for name, s := range streams {
		v.tallies[name] = newTally(s)
	}
	v.newest = path
	return err
}

// state returns the state of the newest segment that can be read, and its path.
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
	if err := segment.TellCorrupt(err, v.damaged); err != nil || gone {
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
	return segment.TellCorrupt(f.CheckMetas(ctx), v.damaged)
}

// buckets checks that there is none but those that the log makes.
func (v *verifying) buckets(ctx context.Context, f *segment.Pages) error {
	return f.Elements(ctx, nil, []byte{}, func(e boltpage.Element) error {
		known := slices.ContainsFunc([][]byte{segment.BucketMeta, segment.BucketState, segment.BucketBlocks, segment.BucketIndex}, func(name []byte) bool { return bytes.Equal(e.Key, name) })
		if !e.Bucket || !known {
			v.damaged(&segment.CorruptError{File: f.Path, Reason: fmt.Sprintf("%q is no bucket of a log", e.Key)})
		}
		return nil
	}, segment.Pass(func(*segment.CorruptError) {})) // whoever reads the blocks tells it
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
	return segment.TellCorrupt(f.Sound(ctx, func(s *boltpage.Snapshot) error {
		if t, err := s.Bucket(segment.BucketState); t == nil && err == nil {
			return f.Corrupt("the state is missing")
		}
		return nil
	}), v.damaged)
}

// stateFault decodes an entry of the state.
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
	}
	return nil
}

// noteFiles tells of the files that are no part of the log any more.
func (v *verifying) noteFiles() {
	for _, f := range v.files.setAside {
		v.note("%s (%d bytes) was set aside by an agent that could not read it; it is no part of the log any more", f.Name, f.Size)
	}
	for _, f := range v.files.unfinished {
		v.note("%s (%d bytes) was not finished before a crash, or is about to be; it holds no event", f.Name, f.Size)
	}
}
