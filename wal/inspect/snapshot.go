package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/recent"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/timeline"
)

const (
	// unfinishedCopy is the folder that a Snapshot writes to until the copy is complete.
	unfinishedCopy = ".unfinished"
	// copyAtOnce is about how many bytes of blocks one transaction of the copy takes.
	copyAtOnce = 8 << 20
	// lastBlocks is how many bytes of blocks may be left for the read that takes state and blocks as one commit left
	// them.
	lastBlocks = 1 << 20
	// exactFor is how long that read is tried.
	exactFor = 5 * time.Second
	// copyFor is how long Snapshot tries to make a consistent copy. The last attempt may end later.
	copyFor = time.Minute
)

// ErrChanging is wrapped by Snapshot when the log changes faster than it can be copied.
var ErrChanging = errors.New("wal: the log changes faster than it can be copied")

// SnapshotReport is the result of a Snapshot.
type SnapshotReport struct {
	Segments int
	Bytes    int64 // of the files of the segments and of the dead letters
	Dead     bool  // there is a file of dead letters
	// Exact: the copy is the log as one commit left it. If it is false, the log was committed to without a pause. Then
	// a numbered batch that was acked while the copy was made may be stored again when its producer sends it to the
	// copy again.
	Exact bool
	// Verified is the result of a Verify of the copy.
	Verified *VerifyReport
}

// Snapshot copies the log in the data directory dir, with its dead letters, to the folder out. It also works beside a
// running agent, and takes no lock. The copy has all events that were acked before Snapshot was called, and the
// cursors of the destinations are never ahead of it. Segments that were set aside are not copied. The copy is synced
// and verified; until it is complete it is in a folder of its own below out. progress may be nil; otherwise it is
// called for each file.
//
// Errors: ErrNoLog; ErrChanging; fs.ErrExist if out exists and is not empty; a *CorruptError if the newest segment
// cannot be read; a *VersionError for a file of a later release; those of the file system and of ctx. Damage that the
// verification of the copy finds is damage of the log, and is not an error.
func Snapshot(ctx context.Context, dir, out string, progress func(file string)) (*SnapshotReport, error) {
	if err := emptyFolder(out); err != nil {
		return nil, err
	}
	c := copying{ctx: ctx, from: dir, to: filepath.Join(out, unfinishedCopy), progress: progress, copied: make(map[uint64]bool)}
	err := c.run()
	if err == nil {
		c.report.Verified, err = Verify(ctx, c.to, nil)
	}
	if err == nil {
		err = c.publish(out)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy %s: %w", dir, err), os.RemoveAll(c.to))
	}
	return &c.report, nil
}

// emptyFolder creates the folder if it is missing. It returns fs.ErrExist if the folder is not empty.
func emptyFolder(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return disk.MakeDir(path)
	}
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: %w", path, fs.ErrExist)
	}
	return err
}

// copying is a Snapshot in progress.
type copying struct {
	ctx      context.Context
	from, to string
	progress func(file string)
	copied   map[uint64]bool // sealed segments
	report   SnapshotReport
}

// run copies the sealed segments, then the newest, then the dead letters. The order makes the copy consistent. The
// state is in the newest segment and is read after the sealed segments, so it has every settlement that came before a
// segment was truncated or compacted. No dead letter may be added or removed while the state is read.
func (c *copying) run() error {
	if err := os.MkdirAll(filepath.Join(c.to, "wal"), 0o700); err != nil {
		return err
	}
	for giveUp := time.Now().Add(copyFor); ; {
		done, err := c.try()
		if err != nil || done {
			return err
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(giveUp) {
			return fmt.Errorf("%w: tried for %s", ErrChanging, copyFor)
		}
	}
}

// try makes the copy, or continues it. done is false if the log has changed meanwhile in a way that makes the copy
// inconsistent.
func (c *copying) try() (done bool, err error) {
	files, err := listLog(c.ctx, c.from)
	if err != nil {
		return false, err
	}
	n := len(files.segments)
	if n == 0 {
		return false, fmt.Errorf("%w: %s has no segment that has begun", ErrNoLog, files.dir)
	}
	newest := &files.segments[n-1]
	places, err := files.places(c.ctx, newest)
	if err != nil {
		return false, err
	}
	missed, err := c.sealed(files.segments[:n-1])
	if err != nil {
		return false, err
	}
	letters, err := deadMetas(c.from)
	if err != nil {
		return false, err
	}
	to := filepath.Join(c.to, newest.Name)
	sealed, known, err := c.newest(&files, newest, to)
	if err == nil && !(sealed && missed) { // else the state of a later segment may be why the missed one was removed
		if done, err = c.dead(letters); done && known.within(places) {
			return true, err
		}
	}
	if !known.within(places) { // events that a new destination counts as absent must not be in the copy
		for seq := range c.copied {
			err = errors.Join(err, os.Remove(filepath.Join(c.to, "wal", segment.FileName(seq))))
		}
		clear(c.copied)
	}
	return false, errors.Join(ignoreGone(err), disk.RemoveIfExists(to))
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sealed copies the sealed segments that were not copied yet. Appends do not change them, and a compaction writes a
// new file under another name, which then replaces the old one. missed: a segment was gone.
func (c *copying) sealed(segments []SegmentInfo) (missed bool, err error) {
	for _, s := range segments {
		if c.copied[s.Seq] {
			continue
		}
		err := c.file(s.Name)
		if errors.Is(err, fs.ErrNotExist) {
			missed = true
			continue
		}
		if err != nil {
			return missed, err
		}
		c.copied[s.Seq] = true
	}
	return missed, nil
}

// file copies a file that does not change, and syncs the copy.
func (c *copying) file(name string) (err error) {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	from, err := os.Open(filepath.Join(c.from, name))
	if err != nil {
		return err
	}
	defer from.Close()
	if c.progress != nil {
		c.progress(name)
	}
	to, err := os.OpenFile(filepath.Join(c.to, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}

// cursorNames is a set of the keys of cursors in a state.
type cursorNames map[string]bool

func (p cursorNames) within(others cursorNames) bool {
	for name := range p {
		if !others[name] {
			return false
		}
	}
	return true
}

func (p cursorNames) note(key []byte) {
	if kind, _, ok := segment.SplitStateKey(key); ok && kind == segment.StateCursor {
		p[string(key)] = true
	}
}

// places returns the keys of the cursors in the newest segment's state.
func (l *logFiles) places(ctx context.Context, newest *SegmentInfo) (cursorNames, error) {
	names := make(cursorNames)
	f, _, gone, err := l.open(ctx, newest)
	if err != nil || gone {
		return names, err
	}
	defer f.Close()
	return names, f.Elements(ctx, segment.BucketState, []byte{segment.StateCursor}, func(e boltpage.Element) error {
		names.note(e.Key)
		return nil
	}, segment.Pass(func(*segment.CorruptError) {})) // newest returns it
}

// newest copies the newest segment as one commit left it, entry by entry into a file of its own. sealed: the segment
// is no longer the newest.
func (c *copying) newest(files *logFiles, info *SegmentInfo, to string) (sealed bool, known cursorNames, err error) {
	f, _, gone, err := files.open(c.ctx, info)
	if gone {
		err = fs.ErrNotExist
	}
	if err != nil {
		return false, nil, err
	}
	defer f.Close()
	if c.progress != nil {
		c.progress(info.Name)
	}
	if err := disk.RemoveIfExists(to); err != nil {
		return false, nil, err
	}
	db, file, err := segment.OpenBoltFile(to, &bolt.Options{NoSync: true})
	if err != nil {
		return false, nil, err
	}
	n := newestCopy{ctx: c.ctx, file: f, db: db}
	err = n.run()
	if err == nil {
		err = file.Sync()
	}
	c.report.Exact = n.exact
	return n.sealed, n.places, errors.Join(err, db.Close())
}

// newestCopy copies the entries of a segment that takes appends. Blocks are only added and never changed, so they are
// copied a leaf at a time. The state changes: it is read together with the last blocks, both as one commit left them.
type newestCopy struct {
	ctx    context.Context
	file   *segment.Pages
	db     *bolt.DB
	next   []byte // the key of the first block that was not copied
	sealed bool
	exact  bool
	places cursorNames
}

// elementList is some elements of one bucket.
type elementList struct {
	list  []boltpage.Element
	bytes int
}

func (n *newestCopy) run() error {
	n.next = []byte{}
	for giveUp := time.Now().Add(exactFor); ; {
		if err := n.bulk(); err != nil {
			return err
		}
		var last contents
		held, err := n.file.Try(func(s *boltpage.Snapshot) (err error) {
			last, err = n.read(s)
			return err
		})
		switch {
		case held && err == nil && !last.more:
			n.exact = true
			return n.finish(&last)
		case held && err != nil:
			return err
		case n.ctx.Err() != nil:
			return n.ctx.Err()
		case time.Now().After(giveUp):
			return n.piecemeal()
		}
	}
}

// piecemeal copies the state a leaf at a time, and after that the blocks: so no part of the state is ahead of the
// blocks.
func (n *newestCopy) piecemeal() error {
	var c contents
	err := n.file.Sound(n.ctx, func(s *boltpage.Snapshot) (err error) {
		c.meta, err = allOf(s, segment.BucketMeta)
		return err
	})
	if err != nil {
		return err
	}
	var fault error
	err = n.file.Elements(n.ctx, segment.BucketState, []byte{}, func(e boltpage.Element) error {
		c.state.add(e)
		return nil
	}, segment.Pass(func(err *segment.CorruptError) { fault = err }))
	if err = errors.Join(err, fault); err != nil {
		return err
	}
	if err := n.bulk(); err != nil {
		return err
	}
	return n.finish(&c)
}

// contents is the content of a segment, except for the blocks that were copied before.
type contents struct {
	meta, state, blocks elementList
	more                bool // too many blocks are left; the state was not read
}

// read reads the rest, all of it from one snapshot.
func (n *newestCopy) read(s *boltpage.Snapshot) (c contents, err error) {
	if c.meta, err = allOf(s, segment.BucketMeta); err != nil {
		return c, err
	}
	for key := n.next; ; {
		leaf, after, err := recent.LeafOf(s, segment.BucketBlocks, key)
		if err != nil {
			return c, err
		}
		c.blocks.addFrom(leaf, key)
		if c.more = c.blocks.bytes > lastBlocks; c.more || after == nil {
			break
		}
		key = after
	}
	if !c.more {
		c.state, err = allOf(s, segment.BucketState)
	}
	return c, err
}

// allOf returns a bucket's elements.
func allOf(s *boltpage.Snapshot, bucket []byte) (all elementList, err error) {
	for key := []byte{}; ; {
		leaf, after, err := s.LeafOf(bucket, key)
		if err != nil {
			return all, err
		}
		all.addFrom(leaf, key)
		if after == nil {
			return all, nil
		}
		key = after
	}
}

func (x *elementList) add(e boltpage.Element) {
	x.list = append(x.list, e)
	x.bytes += len(e.Key) + len(e.Value)
}

func (x *elementList) addFrom(leaf *boltpage.Page, key []byte) {
	if leaf == nil {
		return
	}
	for _, e := range leaf.Elements {
		if bytes.Compare(e.Key, key) >= 0 {
			x.add(e)
		}
	}
}

// bulk copies all blocks that are in the segment now.
func (n *newestCopy) bulk() error {
	var some elementList
	for {
		var leaf *boltpage.Page
		var after []byte
		if err := n.file.Sound(n.ctx, func(s *boltpage.Snapshot) (err error) {
			leaf, after, err = recent.LeafOf(s, segment.BucketBlocks, n.next)
			return err
		}); err != nil {
			return err
		}
		some.addFrom(leaf, n.next)
		if len(some.list) > 0 {
			last := some.list[len(some.list)-1].Key
			n.next = append(bytes.Clone(last), 0)
		}
		if after == nil || some.bytes >= copyAtOnce {
			if err := n.put(segment.BucketBlocks, some, nil); err != nil {
				return err
			}
			some = elementList{}
		}
		if after == nil {
			return nil
		}
		n.next = after
	}
}

// finish adds the elements that were read last to the copy. The copied segment is the newest of its log, so it is not
// marked as sealed. It has no digest, which counts bbolt's transactions.
func (n *newestCopy) finish(c *contents) error {
	n.places = make(cursorNames)
	for _, e := range c.state.list {
		n.places.note(e.Key)
	}
	unsealed := func(e boltpage.Element) bool {
		n.sealed = n.sealed || bytes.Equal(e.Key, segment.KeySealed)
		return !bytes.Equal(e.Key, segment.KeySealed) && !bytes.Equal(e.Key, segment.KeyDigest)
	}
	return errors.Join(n.put(segment.BucketMeta, c.meta, unsealed), n.put(segment.BucketBlocks, c.blocks, nil), n.put(segment.BucketState, c.state, nil))
}

func (n *newestCopy) put(bucket []byte, some elementList, wanted func(boltpage.Element) bool) error {
	return n.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		for _, e := range some.list {
			if err == nil && (wanted == nil || wanted(e)) {
				err = b.Put(e.Key, e.Value)
			}
		}
		return err
	})
}

// deadMetas returns the meta pages of the dead letters' file, which change with each commit. They are zero if there is
// no file.
func deadMetas(dir string) (m boltpage.Metas, err error) {
	f, err := segment.OpenPages(filepath.Join(dir, segment.DeadName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	m, err = f.ReadMetas()
	return m, errors.Join(err, f.Close())
}

// dead copies the file of dead letters. same: no dead letter was added or removed since the file had the meta pages
// before.
func (c *copying) dead(before boltpage.Metas) (same bool, err error) {
	if before == (boltpage.Metas{}) {
		now, err := deadMetas(c.from)
		return now == before, err
	}
	if err := c.file(segment.DeadName); err != nil {
		return false, err
	}
	c.report.Dead = true
	now, err := deadMetas(c.from)
	return now == before, err
}

// publish moves the complete copy from its own folder to out.
func (c *copying) publish(out string) error {
	if err := c.measure(); err != nil {
		return err
	}
	if err := errors.Join(disk.SyncDir(filepath.Join(c.to, "wal")), disk.SyncDir(c.to)); err != nil {
		return err
	}
	if c.report.Dead {
		if err := os.Rename(filepath.Join(c.to, segment.DeadName), filepath.Join(out, segment.DeadName)); err != nil {
			return err
		}
	}
	// The corrections of times come last, so that they have the timelines of all copied events.
	switch err := c.file(timeline.Name); {
	case err == nil:
		if err := os.Rename(filepath.Join(c.to, timeline.Name), filepath.Join(out, timeline.Name)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.Rename(filepath.Join(c.to, "wal"), filepath.Join(out, "wal")); err != nil {
		return err
	}
	return errors.Join(os.Remove(c.to), disk.SyncDir(out))
}

func (c *copying) measure() error {
	return filepath.WalkDir(c.to, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			c.report.Bytes += info.Size()
		}
		if _, ok := segment.SeqOf(d.Name()); ok {
			c.report.Segments++
		}
		return err
	})
}
