package wal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/lastcommit"
	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/internal/small"
)

// A commit syncs once. If the power fails before that, the file has any subset of the sectors that the commit wrote. These
// tests make such files from a log's file before and after each commit, and expect the commit or the one before it.

// sectorCommit is the file of the newest segment before and after a commit.
type sectorCommit struct{ before, after []byte }

const sectorSegment = "0000000000000001.seg"

// recorder reads the newest segment before and after each commit.
type recorder struct {
	path    string
	before  []byte
	commits []sectorCommit
}

// usedPages returns the file up to its last page that is not empty.
func usedPages(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	return b[:(len(bytes.TrimRight(b, "\x00"))+4095)/4096*4096], err
}

func (x *recorder) options(o wal.Options) wal.Options {
	x.path = filepath.Join(o.Dir, "wal", sectorSegment)
	return o.WithFaults(func() (err error) {
		x.before, err = usedPages(x.path)
		return err
	}, func() error {
		after, err := usedPages(x.path)
		if n := len(x.before) - len(after); n > 0 { // zeros were written ahead over its last pages, which no commit reaches
			after = append(after, make([]byte, n)...)
		}
		unconfirm(x.before, after)
		unconfirmSmall(x.path, x.before, after)
		x.commits = append(x.commits, sectorCommit{x.before, after})
		return err
	})
}

// unconfirm undoes the confirmation, which comes after the sync: the file has the meta page of the commit before.
func unconfirm(before, after []byte) {
	size := os.Getpagesize()
	if tx := binary.NativeEndian.Uint64(after[16+48:]); tx%2 == 0 {
		copy(after[size:2*size], before[size:])
	} else {
		copy(after[:size], before)
	}
}

// unconfirmSmall undoes the confirmation of the last small commit of the file at path, which after is.
func unconfirmSmall(path string, before, after []byte) {
	found, err := smallOf(path)
	if next := int(found.Offset(len(found.Pages) + 1)); err == nil && len(found.Pages) > 0 && next < len(after) {
		copy(after[next:next+os.Getpagesize()], before[next:])
	}
}

// smallOf returns the small commits of a segment.
func smallOf(path string) (found small.Found, err error) {
	err = boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) (err error) {
		found, err = small.Read(s)
		return err
	})
	return found, err
}

// sectorLog runs a drawn history on a log of one segment, and returns its commits. The log is closed. The first commit
// begins the segment, and syncs twice.
func sectorLog(t *testing.T, r *rand.Rand, steps int) (dir string, commits []sectorCommit) {
	t.Helper()
	return sectorLogOf(t, r, steps, withSmall)
}

// The lengths of segments with pages for small commits, and without.
const withSmall, withoutSmall = 4 << 20, 1<<20 - 1

// sectorLogOf is sectorLog for a segment of that length.
func sectorLogOf(t *testing.T, r *rand.Rand, steps int, segmentSize int64) (dir string, commits []sectorCommit) {
	t.Helper()
	dir = t.TempDir()
	var x recorder
	l := open(t, x.options(wal.Options{Dir: dir, SegmentSize: segmentSize}))
	for i := range steps {
		sectorStep(t, l, r, i)
	}
	must(t, l.Close())
	return dir, x.commits[1:]
}

// sectorStep appends, and sometimes settles or adds and removes a destination.
func sectorStep(t *testing.T, l *wal.Log, r *rand.Rand, i int) {
	t.Helper()
	stream := fmt.Sprint("stream", r.IntN(3))
	b := &wal.Batch{Stream: stream}
	most, events := 9000, 1+r.IntN(4)
	if i%14 < 9 { // small enough for small commits, and several in a row
		most, events = 600, 1
	}
	for range events {
		b.Events = append(b.Events, event(fmt.Sprint("key", r.IntN(9)), strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(1+r.IntN(most)))))
	}
	if r.IntN(2) == 0 {
		b.ProducerID, b.ProducerSequence = fmt.Sprint("producer", i), 1 // an entry of its own
	}
	_, err := l.Append(t.Context(), b)
	must(t, err)
	if r.IntN(3) > 0 {
		return
	}
	p, err := place(l, stream, fmt.Sprint("d", r.IntN(2)))
	must(t, err)
	settleTo(t, p, max(p.Stat().Checkpoint, l.Next(stream)-uint64(r.IntN(2))), wal.Ledger{})
	must(t, l.Sync(t.Context()))
}

// changed returns the sectors of that size in which the two files differ.
func (c *sectorCommit) changed(size int) (sectors []int) {
	for at := 0; at < len(c.after); at += size {
		if !bytes.Equal(c.sector(c.before, at, size), c.after[at:at+size]) {
			sectors = append(sectors, at)
		}
	}
	return sectors
}

// sector returns a sector of the file; zeros beyond its end.
func (c *sectorCommit) sector(file []byte, at, size int) []byte {
	if at >= len(file) {
		return make([]byte, size)
	}
	return file[at : at+size]
}

// checkDigest returns an error if the last commit has stored a wrong digest in the segment that takes appends.
func checkDigest(dir string) error {
	seqs, err := segment.ListSegments(filepath.Join(dir, "wal"))
	for _, seq := range slices.Backward(seqs) {
		path := filepath.Join(dir, "wal", segment.FileName(seq))
		var blocks *boltpage.Bucket
		err = boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) (err error) {
			blocks, err = s.Bucket(segment.BucketBlocks)
			return err
		})
		if blocks != nil && err == nil {
			_, err = lastcommit.Check(path, seq)
		}
		if blocks != nil || err != nil {
			break // the others behind it are only made ready
		}
	}
	return err
}

// entriesOf returns a hash of all entries of the file as the transactions before tx left it; 0: all of them.
func entriesOf(t *testing.T, path string, tx uint64) (sum [32]byte) {
	t.Helper()
	f, err := segment.OpenPages(path)
	must(t, err)
	defer f.Close()
	f.Before(tx)
	h := sha256.New()
	for _, bucket := range [][]byte{segment.BucketMeta, segment.BucketBlocks, segment.BucketState} {
		fmt.Fprintf(h, "%q\n", bucket)
		must(t, f.Elements(t.Context(), bucket, []byte{}, func(e boltpage.Element) error {
			fmt.Fprintf(h, "%q %q\n", e.Key, e.Value)
			return nil
		}, func(err error) error { return err }))
	}
	h.Sum(sum[:0])
	return sum
}

// sectorDisk is a file that gets some of the sectors of a commit.
type sectorDisk struct {
	t        *testing.T
	r        *rand.Rand
	c        sectorCommit
	file     *os.File
	size     int
	sectors  []int
	old, new [32]byte // the entries of the file before and after
	opened   int
	torn     int
}

// lost returns the content of a sector that was lost: mostly that from before. A sector that the commit before does not
// reach may also be empty, or have content of another place.
func (d *sectorDisk) lost(at int) []byte {
	was := d.c.sector(d.c.before, at, d.size)
	if at < 2*os.Getpagesize() {
		return was
	}
	switch d.r.IntN(8) {
	case 0:
		return make([]byte, d.size)
	case 1:
		return d.c.sector(d.c.before, d.r.IntN(len(d.c.before)/d.size)*d.size, d.size)
	}
	return was
}

// check writes an image with the sectors for which kept is set, and checks that the log finds one of the two commits.
func (d *sectorDisk) check(kept func(i int) bool, plain bool) {
	d.t.Helper()
	all, meta := true, true
	for i, at := range d.sectors {
		content := d.c.after[at : at+d.size]
		if !kept(i) {
			all = false
			meta = meta && at >= 2*os.Getpagesize()
			if content = d.lost(at); plain {
				content = d.c.sector(d.c.before, at, d.size)
			}
		}
		_, err := d.file.WriteAt(content, int64(at))
		must(d.t, err)
	}
	d.opened++
	found, err := lastcommit.Check(d.file.Name(), 1)
	if err != nil {
		d.t.Fatalf("with %d sectors of %d: %v", len(d.sectors), d.size, err)
	}
	if found.Torn > 0 {
		d.torn++
	}
	if d.opened%64 == 0 {
		must(d.t, found.Secure(d.file.Name()))
		found.Torn = 0
	}
	got := entriesOf(d.t, d.file.Name(), found.Torn)
	if got != d.new && (all || got != d.old) || got == d.new && !meta {
		d.t.Fatalf("got neither the commit nor the one before it; all sectors: %v, the meta page: %v", all, meta)
	}
	if d.opened%64 == 0 { // Secure has changed both meta pages
		for page := range 2 {
			at := page * os.Getpagesize()
			_, err := d.file.WriteAt(d.c.before[at:at+os.Getpagesize()], int64(at))
			must(d.t, err)
		}
	}
}

func TestSectors_AnySubsetIsTheCommitOrTheOneBefore(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	steps, drawn, most := 10, 1000, 12
	if testing.Short() {
		steps, drawn, most = 9, 100, 6
	}
	_, commits := sectorLog(t, r, steps)
	_, others := sectorLogOf(t, r, steps, withoutSmall)
	commits = append(commits, others...)
	opened, torn, whole := 0, 0, 0
	for _, c := range commits {
		for _, size := range []int{512, 4096} {
			d := newSectorDisk(t, r, c, size)
			if n := len(d.sectors); n <= most {
				whole++
				for subset := range 1 << n {
					d.check(func(i int) bool { return subset>>i&1 == 1 }, true)
				}
			} else {
				d.draw(drawn)
			}
			must(t, d.file.Close())
			opened, torn = opened+d.opened, torn+d.torn
		}
	}
	t.Logf("%d commits, %d of them with all subsets, %d images, %d torn commits", len(commits), whole, opened, torn)
	if torn == 0 || len(commits) < 2*(steps-1) {
		t.Errorf("got %d torn commits of %d commits, want some, and a commit for each of %d steps", torn, len(commits), 2*steps)
	}
}

func newSectorDisk(t *testing.T, r *rand.Rand, c sectorCommit, size int) *sectorDisk {
	t.Helper()
	d := &sectorDisk{t: t, r: r, c: c, size: size, sectors: c.changed(size)}
	path := filepath.Join(t.TempDir(), sectorSegment)
	must(t, os.WriteFile(path, c.after, 0o600))
	d.new = entriesOf(t, path, 0)
	must(t, os.WriteFile(path, c.before, 0o600))
	d.old = entriesOf(t, path, 0)
	must(t, os.Truncate(path, int64(len(c.after))))
	var err error
	d.file, err = os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	return d
}

// draw checks images with all sectors, without one of them, and with drawn ones.
func (d *sectorDisk) draw(n int) {
	d.t.Helper()
	d.check(func(int) bool { return true }, true)
	for lost := range d.sectors {
		d.check(func(i int) bool { return i != lost }, d.r.IntN(2) == 0)
	}
	for range n - len(d.sectors) {
		odds := d.r.IntN(100)
		d.check(func(i int) bool { return d.sectors[i] < 2*os.Getpagesize() && d.r.IntN(8) > 0 || d.r.IntN(100) < odds }, false)
	}
}

// Checkpoints in a segment without events take one sync too.
func TestSectors_OfASegmentWithoutEvents(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	var x recorder
	l := open(t, x.options(wal.Options{Dir: t.TempDir(), SegmentSize: 4 << 20}))
	for range 8 {
		p, err := place(l, fmt.Sprint("stream", r.IntN(200)), "d")
		must(t, err)
		must(t, p.Settle(wal.Settlement{Add: wal.Ledger{Requests: 1 + r.Uint64N(1000)}, State: make([]byte, r.IntN(5000))}))
		must(t, l.Sync(t.Context()))
	}
	must(t, l.Close())
	torn := 0
	for _, c := range x.commits[1:] {
		d := newSectorDisk(t, r, c, 512)
		d.draw(100)
		must(t, d.file.Close())
		torn += d.torn
	}
	if len(x.commits) < 5 || torn == 0 {
		t.Errorf("got %d commits, and %d files with a torn one", len(x.commits), torn)
	}
}

// A commit writes no page that the commit before it can reach: this one is still there when the next one is torn.
func TestSectors_CommitLeavesTheOneBeforeAsItIs(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	_, commits := sectorLog(t, r, 40)
	for _, c := range commits {
		path := filepath.Join(t.TempDir(), sectorSegment)
		must(t, os.WriteFile(path, c.before, 0o600))
		must(t, boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) error {
			must(t, s.Check(func([]byte, uint64) func(boltpage.Element) error { return func(boltpage.Element) error { return nil } }))
			reached := s.Pages()
			found, err := small.Read(s)
			must(t, err)
			for number := len(found.Pages) + 1; number <= found.Count+1; number++ { // these are free
				free := uint64(found.Offset(number)) / uint64(os.Getpagesize())
				reached = slices.DeleteFunc(reached, func(page uint64) bool { return page == free })
			}
			for _, at := range c.changed(4096) {
				if slices.Contains(reached, uint64(at/os.Getpagesize())) {
					t.Errorf("transaction %d wrote page %d of the one before", s.Tx()+1, at/os.Getpagesize())
				}
			}
			return nil
		}))
	}
}

// sectorState is the state of a log that clients and operators can see.
func sectorState(t *testing.T, l *wal.Log) (state string) {
	t.Helper()
	var b strings.Builder
	for _, s := range l.Streams() {
		fmt.Fprintf(&b, "%s %d\n", s.Name, l.Next(s.Name))
		for _, e := range readAll(t, l, s.Name, 1, wal.AllLanes) {
			fmt.Fprintf(&b, "%d %x\n", e.Offset, sha256.Sum256(append([]byte(e.Key), e.Data...)))
		}
		for _, p := range l.Cursors(s.Name) {
			st := p.Stat()
			fmt.Fprintf(&b, "%s %v %v %v\n", p.Name(), st.Pending, st.Appended, p.Lanes())
		}
	}
	return b.String()
}

// The whole log opens with a torn commit, has lost none of the events before it, and takes appends. A second loss tears the
// first or the second commit after that.
func TestSectors_LogGoesOnAfterATornCommit(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	rounds := 60
	if testing.Short() {
		rounds = 12
	}
	dir, commits := sectorLog(t, r, 12)
	torn := 0
	for range rounds {
		c := commits[r.IntN(len(commits))]
		for range 3 {
			var ok bool
			if c, ok = tearAndGoOn(t, r, dir, c); ok {
				torn++
			}
		}
	}
	if torn == 0 {
		t.Error("no commit was torn")
	}
}

// tearAndGoOn opens the log with a part of the commit, and checks it. Then it appends, and returns the last commit of that.
func tearAndGoOn(t *testing.T, r *rand.Rand, dir string, c sectorCommit) (last sectorCommit, torn bool) {
	t.Helper()
	states := make([]string, 2)
	for i, file := range [][]byte{c.before, c.after} {
		l := openSectors(t, dir, file, &recorder{})
		states[i] = sectorState(t, l)
		must(t, l.Close())
	}
	image := append(slices.Clone(c.before), make([]byte, len(c.after)-len(c.before))...)
	for _, at := range c.changed(512) {
		if at < 2*os.Getpagesize() || r.IntN(4) > 0 {
			copy(image[at:at+512], c.after[at:])
		}
	}
	var x recorder
	l := openSectors(t, dir, image, &x)
	got := sectorState(t, l)
	if torn = got == states[0]; !torn && got != states[1] {
		t.Errorf("got the state\n%s\nwant that before the commit\n%s\nor after it\n%s", got, states[0], states[1])
	}
	for range 2 {
		sectorStep(t, l, r, int(r.Uint32()))
	}
	want := sectorState(t, l)
	must(t, l.Close())
	l = open(t, wal.Options{Dir: filepath.Dir(l.Dir())})
	if got := sectorState(t, l); got != want {
		t.Errorf("got the state\n%s\nafter two appends and a reopen, want\n%s", got, want)
	}
	must(t, l.Close())
	return x.commits[len(x.commits)-1], torn
}

// openSectors opens a copy of the log with that file as its segment.
func openSectors(t *testing.T, dir string, file []byte, x *recorder) *wal.Log {
	t.Helper()
	to := t.TempDir()
	copyDir(t, to, dir)
	must(t, os.WriteFile(filepath.Join(to, "wal", sectorSegment), file, 0o600))
	return open(t, x.options(wal.Options{Dir: to, SegmentSize: 4 << 20}))
}

// The tools read a log with a torn commit as the agent opens it: without that commit. The ledgers of this log are wrong, and
// Verify finds nothing else.
func TestSectors_ToolsIgnoreATornCommit(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	dir, commits := sectorLog(t, r, 8)
	path := filepath.Join(dir, "wal", sectorSegment)
	for _, c := range commits[1:] {
		must(t, os.WriteFile(path, c.before, 0o600))
		want, err := inspect.Inspect(t.Context(), dir)
		must(t, err)
		wrong, err := inspect.Verify(t.Context(), dir, nil)
		must(t, err)
		image := append(slices.Clone(c.before), make([]byte, len(c.after)-len(c.before))...)
		copy(image, c.after[:2*os.Getpagesize()])
		must(t, os.WriteFile(path, image, 0o600))
		got, err := inspect.Inspect(t.Context(), dir)
		must(t, err)
		if !reflect.DeepEqual(got.Streams, want.Streams) || !reflect.DeepEqual(got.Cursors, want.Cursors) {
			t.Errorf("got the streams %+v and cursors %+v of a torn commit, want %+v and %+v", got.Streams, got.Cursors, want.Streams, want.Cursors)
		}
		if report, err := inspect.Verify(t.Context(), dir, nil); err != nil || report.Damaged != wrong.Damaged {
			t.Errorf("got %v, %v, want %v", report.Damage, err, wrong.Damage)
		}
	}
}

// A fault of the disk in the frames of an old block costs that block, as before. It does not remove the last commit.
func TestSectors_DamagedFrameIsNoTornCommit(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	_, commits := sectorLog(t, r, 8)
	c := commits[len(commits)-1]
	path := filepath.Join(t.TempDir(), sectorSegment)
	must(t, os.WriteFile(path, c.after, 0o600))
	var frame []byte
	must(t, boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) error {
		v, err := s.Value(segment.BucketBlocks, binary.BigEndian.AppendUint64(nil, 1))
		frame = v[segment.HeaderLength(v):]
		return err
	}))
	image := bytes.ReplaceAll(c.after, frame, append([]byte{frame[0] ^ 1}, frame[1:]...))
	must(t, os.WriteFile(path, image, 0o600))
	if found, err := lastcommit.Check(path, 1); err != nil || found.Torn != 0 {
		t.Errorf("got %+v, %v, want a whole commit with a bad block", found, err)
	}
}

// After a failed sync, Linux may keep pages that are not on the disk, and takes them for written. So Open writes again all
// that the last commit wrote, before another commit may overwrite pages of the one before.
func TestSectors_OpenSecuresTheLastCommit(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	_, commits := sectorLog(t, r, 20)
	for _, c := range commits {
		path := filepath.Join(t.TempDir(), sectorSegment)
		must(t, os.WriteFile(path, c.after, 0o600))
		found, err := lastcommit.Check(path, 1)
		must(t, err)
		again := found.Unsynced()
		for number := range found.Small.Pages {
			again = append(again, uint64(found.Small.Offset(number+1))/uint64(os.Getpagesize()))
		}
		for _, at := range c.changed(os.Getpagesize()) {
			if page := uint64(at / os.Getpagesize()); page >= 2 && !slices.Contains(again, page) {
				t.Errorf("page %d of the commit is not written again, but %v are", page, again)
			}
		}
		if 3*len(again) > 2*len(c.after)/os.Getpagesize() && len(c.after) > 1<<18 {
			t.Errorf("%d of %d pages are written again", len(again), len(c.after)/os.Getpagesize())
		}
		want := entriesOf(t, path, 0)
		must(t, found.Secure(path))
		if got := entriesOf(t, path, 0); got != want {
			t.Error("Secure has changed the entries")
		}
		if found, err = lastcommit.Check(path, 1); err != nil || found.Torn != 0 || len(found.Unsynced()) > 0 {
			t.Errorf("got %+v, %v, want nothing left to secure", found, err)
		}
	}
}

// A commit that was synced is not torn: a wrong digest is damage, and is not repaired by dropping the commit.
func TestSectors_SyncedCommitIsNotTorn(t *testing.T) {
	r := rand.New(rand.NewPCG(draw.Seed(t), 1))
	dir, commits := sectorLog(t, r, 8)
	path := filepath.Join(dir, "wal", sectorSegment)
	c := commits[len(commits)-1]
	for _, at := range c.changed(512) {
		if at >= 2*os.Getpagesize() {
			overwrite(t, path, int64(at), c.sector(c.before, at, 512))
		}
	}
	if found, err := lastcommit.Check(path, 1); err == nil {
		t.Errorf("got %+v, want damage", found)
	}
}
