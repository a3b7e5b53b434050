package wal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

const (

	// largestCommit is the most that one commit adds: a full group and the append that overfills it.
	largestCommit = maxGroup + maxBatch
)

// recovery holds the findings of Open in the directory.
type recovery struct {
	log     *Log
	last    uint64      // the highest number of any segment, past or present
	lost    int64       // the most bytes of stored blocks that a newest segment may have lost
	whole   bool        // the newest segment may take appends
	ready   *logSegment // made ready to follow the newest; nil: none is
	longest int64       // the length of the longest segment file
	lowest  map[string]uint64

	condemned []condemned

	copied   string // the evidence that the log is a copy; "": there is none
	recorded bool   // the newest segment has a record of its birthplace
}

// condemned is a segment to set aside.
type condemned struct {
	seg    *logSegment
	reason error
}

// recover loads the log from the directory, and makes the newest segment ready for appends. It changes no file before
// it has read all: if the disk cannot be read now, or a later release wrote the log, the directory stays as it is.
func (l *Log) recover(ctx context.Context) error {
	seqs, err := segment.ListSegments(l.dir)
	if err != nil {
		return err
	}
	path, begun := begunFile(l.dir)
	l.truncator.begunPath = path
	r := recovery{log: l, last: max(highestAside(l.dir), begun), lowest: make(map[string]uint64)}
	for _, seq := range seqs {
		r.longest = max(r.longest, disk.Length(r.log.segments.newSegment(seq).Path))
	}
	if seqs, err = r.takeReady(ctx, seqs); err != nil {
		return err
	}
	if newest := slices.Max(append(seqs, 0)); newest < r.last {
		r.lose(0) // an earlier Open set it aside and did not finish, or the file is gone
	}
	for _, seq := range slices.Backward(seqs) {
		r.last = max(r.last, seq)
		if err := r.load(ctx, seq); err != nil {
			return err
		}
	}
	if err := deadletter.CheckVersion(ctx, l.opts.Dir); err != nil {
		return err
	}
	if err := r.change(); err != nil {
		return err
	}
	slices.Reverse(l.segments.all)
	if l.identity.ID == "" {
		l.identity.ID = newID()
	}
	r.finishState()
	l.stateBudget.count()
	if r.lost > 0 {
		r.skipLost(uint64(r.lost) / segment.LeastFrame * r.missing())
	}
	r.findCopy()
	if err := r.resume(); err != nil {
		return err
	}
	if err := r.recordIdentity(); err != nil {
		return fmt.Errorf("record the log's identity: %w", err)
	}
	if newest := l.segments.active().Seq; newest != begun {
		l.truncator.noteBegun(newest)
		return l.lock.Sync()
	}
	return nil
}

// lose counts the newest segment as lost, with size bytes left of it. It may have been written under a larger
// SegmentSize or MaxSize than today's, so the lengths of the other segments count too.
func (r *recovery) lose(size int64) {
	full := min(max(r.log.opts.SegmentSize, r.longest)+largestCommit, max(r.log.opts.MaxSize, r.longest, size))
	r.lost = max(r.lost, full, size)
}

// missing returns the most segments that may be lost after the newest readable one, at least one.
func (r *recovery) missing() uint64 {
	newest := uint64(0)
	if n := len(r.log.segments.all); n > 0 {
		newest = r.log.segments.all[n-1].Seq
	}
	return max(r.last-newest, 1)
}

// takeReady removes the last segment from the list if it was made ready and has not begun. It holds no event, and
// proves that there was a segment before it.
func (r *recovery) takeReady(ctx context.Context, seqs []uint64) ([]uint64, error) {
	n := len(seqs)
	if n == 0 {
		return nil, nil
	}
	seg, bare := r.log.segments.newSegment(seqs[n-1]), false
	var m segment.Meta
	err := segment.ReadTwice(ctx, func() error {
		err := seg.View(func(view segment.Reader) (err error) {
			bare = view.Bucket(segment.BucketState) == nil && view.Bucket(segment.BucketBlocks) == nil
			m, err = r.meta(seg, view)
			return err
		})
		return errors.Join(err, seg.Close())
	})
	switch {
	case segment.Damaged(err): // load sets it aside
		return seqs, nil
	case err != nil || !bare:
		return seqs, err
	}
	r.ready, r.log.identity.ID, r.log.streams.base = seg, m.Log, m.Base
	r.last = max(r.last, seg.Seq-1)
	return seqs[:n-1], nil
}

// meta checks that the file is the segment of its name, and records whether it is gapped.
func (r *recovery) meta(seg *logSegment, view segment.Reader) (segment.Meta, error) {
	m, err := seg.Meta(view)
	if err == nil {
		seg.gapped = m.Gapped
	}
	return m, err
}

// load adds a segment to the log, or to the condemned segments. The newest is loaded first. All of it is checked, since
// a crash may have interrupted a write to it, and since it holds the log's state.
func (r *recovery) load(ctx context.Context, seq uint64) error {
	l := r.log
	seg := r.log.segments.newSegment(seq)
	newest := len(l.segments.all) == 0
	before := *r
	err := segment.ReadTwice(ctx, func() error {
		*r = before
		if newest {
			r.forgetState()
		}
		return errors.Join(r.read(seg, newest), seg.Close())
	})
	if !segment.Damaged(err) && err != nil {
		return err
	}
	if err == nil {
		l.segments.all = append(l.segments.all, seg)
		return nil
	}
	if newest {
		r.whole = false // its meta bucket may have been good
		r.lose(disk.Length(seg.Path))
		r.forgetState()
	}
	r.condemned = append(r.condemned, condemned{seg, err})
	return nil
}

// change sets the condemned segments aside, and removes the unfinished files of a crash.
func (r *recovery) change() error {
	for _, c := range r.condemned {
		if err := r.quarantine(c.seg, c.reason); err != nil {
			return err
		}
	}
	return r.clean()
}

func (r *recovery) read(seg *logSegment, newest bool) error {
	if newest {
		return r.readNewest(seg)
	}
	var m segment.Meta
	err := seg.View(func(view segment.Reader) (err error) {
		m, err = r.meta(seg, view)
		return err
	})
	if err == nil {
		err = seg.KnownBlocks()
	}
	if err == nil {
		seg.spans, err = seg.Spans()
	}
	if err != nil {
		return err
	}
	return r.fit(seg, m.Log)
}

func (r *recovery) readNewest(seg *logSegment) error {
	spans, doubtful, err := seg.Check()
	if err != nil {
		return err
	}
	seg.spans = spans
	var m segment.Meta
	err = seg.View(func(view segment.Reader) error {
		if m, err = r.meta(seg, view); err != nil {
			return err
		}
		r.log.identity.ID, r.log.streams.base = m.Log, m.Base
		r.copied, r.recorded = r.log.identity.Load(m.MadeAt, seg.Path, r.log.dir), m.MadeAt != nil
		r.whole = seg.Seq == r.last && !m.Sealed && !doubtful
		switch {
		case seg.Seq == r.last && m.Sealed && r.ready == nil:
			r.last++
			r.lose(0)
		case doubtful && r.lost == 0:
			r.lost = min(largestCommit, r.log.opts.MaxSize)
		}
		if err = r.loadState(view, seg); err == nil {
			r.note(seg)
		}
		return err
	})
	if err != nil || !m.Sealed {
		return err
	}
	seg.Sealed() // the file has an index
	seg.spans, err = seg.Spans()
	return err
}

// fit checks that the segment is an older one of the same log.
func (r *recovery) fit(seg *logSegment, id string) error {
	if id != r.log.identity.ID {
		return &CorruptError{File: seg.Path, Reason: "it belongs to another log"}
	}
	for name, sp := range seg.spans {
		if low, ok := r.lowest[name]; ok && sp.Next > low {
			return &CorruptError{File: seg.Path, Stream: name, Offset: sp.First, Reason: fmt.Sprintf("it ends at %d, a later segment begins at %d", sp.Next, low)}
		}
	}
	r.note(seg)
	return nil
}

func (r *recovery) note(seg *logSegment) {
	for name, sp := range seg.spans {
		r.lowest[name] = sp.First
	}
}

// clean removes the unfinished segments of a crash: they hold no event.
func (r *recovery) clean() error {
	left, err := disk.Files(r.log.dir, func(name string) bool { return strings.HasSuffix(name, segment.UnfinishedSuffix) })
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

// quarantine renames a segment that cannot be read. The file is kept for examination.
func (r *recovery) quarantine(seg *logSegment, reason error) error {
	if err := seg.SetAside(); err != nil {
		return err
	}
	r.log.opts.Logger.Error("a segment can't be read and was set aside", "segment", seg.Path, "error", reason)
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

// loadState reads the newest segment's state.
func (r *recovery) loadState(view segment.Reader, seg *logSegment) error {
	state := view.Bucket(segment.BucketState)
	if state == nil {
		return &CorruptError{File: seg.Path, Reason: "the state is missing"}
	}
	for k, stored := state.Next(); k != nil; k, stored = state.Next() {
		v, err := segment.StateValue(k, stored, seg.Summed())
		if err == nil {
			err = r.loadEntry(k, v)
		}
		if err != nil {
			return segment.InFile(seg.Path, err)
		}
	}
	return nil
}

// forgetState undoes loadState.
func (r *recovery) forgetState() {
	r.log.identity.Clear()
	clear(r.log.streams.all)
	r.log.committer.producers.Clear()
	r.log.streams.base = 0
}

// finishState adds the blocks that were stored after the state.
func (r *recovery) finishState() {
	for _, seg := range r.log.segments.all {
		for name, sp := range seg.spans {
			s := r.log.streams.get(name)
			s.stored.Store(true)
			if sp.Next > s.next {
				s.next, s.bytes = sp.Next, sp.After
			}
		}
	}
	for _, s := range r.log.streams.all {
		for _, p := range s.cursors {
			p.noteAbsent()
		}
	}
}

// noteAbsent counts every event of the stream as possibly undelivered if some were absent when the destination was
// added: the log does not store which ones.
func (p *Cursor) noteAbsent() {
	if p.at.Ledger.Dropped[DroppedAbsent].Events == 0 {
		return
	}
	for lane := range p.at.Lost {
		p.at.Lost[lane] = p.stream.next
	}
}

func (r *recovery) loadEntry(k, v []byte) error {
	kind, names, ok := segment.SplitStateKey(k)
	if !ok || len(names) == 0 {
		return fmt.Errorf("a state key of %d bytes is malformed", len(k))
	}
	s := r.log.streams.get(names[0])
	switch {
	case kind == segment.StateStream:
		var stood segment.StreamState
		err := stood.Decode(v)
		s.next, s.bytes, s.base = stood.Next, stood.Bytes, 0
		s.stored.Store(s.next > 1)
		return err
	case kind == segment.StateCursor && len(names) == 2:
		p := &Cursor{log: r.log, stream: s, name: names[1]}
		s.cursors[p.name] = p
		return p.at.Restore(v)
	case kind == segment.StateBranches:
		return r.log.identity.LoadBranches(names[0], v)
	case kind == segment.StateProducer && len(names) == 2:
		return r.log.committer.producers.Load(producer.Key{ID: names[1], Stream: names[0]}, v)
	}
	return nil // an entry of a later release
}

// skipLost ensures that no offset is used twice after the newest segment was lost. It moves the next offset of every
// stream by the most events that the segment can have held. This includes new streams, since the lost segment may have
// been the only one with their events. The gap counts as appended and as dropped. The last batches of the producers are
// unknown, so each may continue with any sequence number.
func (r *recovery) skipLost(events uint64) {
	for _, s := range r.log.streams.all {
		s.mu.Lock()
		s.next += events
		r.log.stateBudget.countStreamLocked(s) // the lost segment may have had its first event
		s.mu.Unlock()
	}
	r.log.streams.base += events
	r.log.opts.Logger.Error("the newest segment is lost, or the end of it may be: its events are unknown, and no offset that it may have had is used again",
		"skipped", events)
	r.log.committer.producers.AcceptAny()
}

// resume makes the newest segment writable, or begins a new one, and counts lost events.
func (r *recovery) resume() error {
	l := r.log
	for _, seg := range l.segments.all {
		seg.size = seg.Disk()
		l.segments.sealed += seg.size
	}
	if err := r.openNewest(); err != nil {
		return err
	}
	if err := l.capacity.allocate(l.segments.active(), 0, 0); err != nil && !disk.Shortage(err) {
		return err
	}
	var err error
	l.damage.later, err = l.damage.reconcileAll()
	return err
}

// openNewest opens the newest segment for appends if it is whole, or begins another.
func (r *recovery) openNewest() error {
	l := r.log
	if r.whole {
		if err := r.removeReady(); err != nil {
			return fmt.Errorf("remove the segment that was made ready: %w", err)
		}
		return r.unseal(l.segments.all[len(l.segments.all)-1])
	}
	seg, err := r.beginNewest()
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	l.segments.all = append(l.segments.all, seg)
	return nil
}

// beginNewest begins the segment that was made ready, which works on a full disk. It makes a new one if there is none,
// or if it is damaged. It also makes a new one if events were lost: then the first offset of new streams is too low in
// the one that was made ready.
func (r *recovery) beginNewest() (*logSegment, error) {
	if r.ready == nil || r.lost > 0 || segment.CheckPages(r.ready.Path) != nil {
		return r.log.roller.createSegment(r.last+1, r.log.roller.begin)
	}
	seg := r.ready
	seg.spans = make(map[string]segment.Span)
	err := seg.OpenEmpty(r.log.opts.SegmentSize)
	if err == nil {
		err = seg.Update(r.log.roller.begin)
	}
	if err != nil {
		return nil, errors.Join(err, seg.Close())
	}
	return seg, nil
}

func (r *recovery) removeReady() error {
	if r.ready == nil {
		return nil
	}
	return errors.Join(r.ready.Remove(os.Remove), r.log.lock.Sync())
}

// unseal opens the segment for writing again.
func (r *recovery) unseal(s *logSegment) error {
	if err := s.OpenWritable(r.log.opts.SegmentSize); err != nil {
		return fmt.Errorf("open newest segment: %w", err)
	}
	r.log.segments.sealed -= s.size
	return nil
}

func newID() string { return rand.Text() }
