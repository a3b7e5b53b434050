package file_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

// inode is a file or a directory, with its last synced contents.
type inode struct {
	info    fs.FileInfo
	open    *os.File          // keeps the inode number from being reused
	data    []byte            // of a file, as last synced
	entries map[string]*inode // of a directory, as last synced
}

// powerDisk simulates a power cut of the tree under root: a file's bytes and a directory's names are then as they were
// last synced, or as they are now.
type powerDisk struct {
	t      *testing.T
	root   string
	rng    *rand.Rand
	inodes []*inode
	oneIn  atomic.Int32 // one of so many syncs fails; 0: none does
}

// lockedSource is a random source that the test and the sink's goroutine share.
type lockedSource struct {
	mu sync.Mutex
	*rand.PCG
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.PCG.Uint64()
}

func newPowerDisk(t *testing.T, rng *rand.Rand) *powerDisk {
	d := &powerDisk{t: t, root: t.TempDir(), rng: rng}
	d.node(d.root)
	return d
}

// fail reports whether the next sync fails.
func (d *powerDisk) fail() bool {
	n := int(d.oneIn.Load())
	return n > 0 && d.rng.IntN(n) == 0
}

func (d *powerDisk) must(err error) {
	if err != nil {
		d.t.Helper()
		d.t.Fatal(err)
	}
}

func (d *powerDisk) node(path string) *inode {
	info, err := os.Stat(path)
	d.must(err)
	for _, n := range d.inodes {
		if os.SameFile(n.info, info) {
			return n
		}
	}
	open, err := os.Open(path)
	d.must(err)
	n := &inode{info: info, open: open, entries: map[string]*inode{}}
	d.inodes = append(d.inodes, n)
	return n
}

func (d *powerDisk) now(path string, n *inode) ([]byte, map[string]*inode) {
	if !n.info.IsDir() {
		b, err := os.ReadFile(path)
		d.must(err)
		return b, nil
	}
	entries := map[string]*inode{}
	list, err := os.ReadDir(path)
	d.must(err)
	for _, e := range list {
		entries[e.Name()] = d.node(filepath.Join(path, e.Name()))
	}
	return nil, entries
}

func (d *powerDisk) sync(f *os.File) error {
	n := d.node(f.Name())
	fails := d.fail()
	if !fails || d.rng.IntN(2) == 0 {
		n.data, _ = d.now(f.Name(), n)
	}
	if fails {
		return errors.New("broken")
	}
	return nil
}

func (d *powerDisk) syncDir(dir string) error {
	if d.fail() {
		return errors.New("broken")
	}
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	n := d.node(dir)
	_, n.entries = d.now(dir, n)
	return nil
}

// cut replaces root with the tree that a power cut leaves, and removes the old tree.
func (d *powerDisk) cut() {
	current := map[*inode][]byte{} // the contents of files, under any name
	var read func(path string)
	names := map[*inode]map[string]*inode{}
	read = func(path string) {
		n := d.node(path)
		current[n], names[n] = d.now(path, n)
		for name := range names[n] {
			read(filepath.Join(path, name))
		}
	}
	read(d.root)
	root := d.t.TempDir()
	var write func(path string, n *inode)
	write = func(path string, n *inode) {
		if !n.info.IsDir() {
			data := n.data
			if now, there := current[n]; there && d.rng.IntN(2) == 0 {
				data = now
			}
			d.must(os.WriteFile(path, data, 0o644))
			return
		}
		d.must(os.MkdirAll(path, 0o755))
		entries := n.entries
		if now, there := names[n]; there && d.rng.IntN(2) == 0 {
			entries = now
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			write(filepath.Join(path, name), entries[name])
		}
	}
	write(root, d.node(d.root))
	for _, n := range d.inodes {
		n.open.Close()
	}
	d.inodes = nil
	d.root = root
	d.settle(root)
}

// settle records everything under path as synced.
func (d *powerDisk) settle(path string) {
	n := d.node(path)
	n.data, n.entries = d.now(path, n)
	for name := range n.entries {
		d.settle(filepath.Join(path, name))
	}
}

func (d *powerDisk) open(o file.Options) *file.Sink {
	d.t.Helper()
	f, err := file.OpenOn(o, (*os.File).Truncate, d.sync, d.syncDir)
	d.must(err)
	return f
}

// A file destination and the log's commits lose power again and again. Every event that the log had recorded as settled
// is in a file, and in the end each event is there once.
func TestFile_KeepsWhatIsSettledWhenThePowerIsCut(t *testing.T) {
	runs := 200
	if testing.Short() {
		runs = 40
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { cutPower(t, rand.New(&lockedSource{PCG: rand.NewPCG(uint64(seed), 3)})) })
		})
	}
}

func cutPower(t *testing.T, rng *rand.Rand) {
	d := newPowerDisk(t, rng)
	options := func(state []byte, checkpoint uint64) file.Options {
		o := options(filepath.Join(d.root, "a", "out"))
		o.RollSize = int64(rng.IntN(100))
		// In reality the path stays the same. Here each cut makes a copy under another path.
		o.State, o.Checkpoint = []byte(strings.ReplaceAll(string(state), "ROOT", d.root)), checkpoint
		return o
	}
	var state []byte // as the log holds it, with the checkpoint
	checkpoint := uint64(1)
	f := d.open(options(nil, 1))
	defer func() { f.Crash() }()
	commit := func(s []byte, next uint64) {
		state, checkpoint = []byte(strings.ReplaceAll(string(s), d.root, "ROOT")), next
		f.Committed(s)
		if rng.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	commit(f.State(), 1)
	d.oneIn.Store(6)
	next, sent := uint64(1), []byte(nil)
	for range 40 {
		switch n := 1 + rng.IntN(3); rng.IntN(8) {
		case 0:
			f.Crash()
			d.cut()
			next = checkpoint
			d.oneIn.Store(0) // without faults, since a failed recovery would only be retried
			f = d.open(options(state, checkpoint))
			d.oneIn.Store(6)
			commit(f.State(), checkpoint)
			sent = nil
			checkSettled(t, d.root, checkpoint)
		case 1, 2, 3:
			if sent != nil {
				commit(sent, next)
			}
		default:
			if got := f.Send(t.Context(), sinktest.RecordsFrom(next, n)); got.Err == nil {
				next, sent = next+uint64(n), got.State
			}
		}
	}
	d.oneIn.Store(0)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	checkSettled(t, d.root, next)
	for _, n := range d.inodes {
		n.open.Close()
	}
}

// checkSettled checks that the files have each line before next once, and no other line.
func checkSettled(t *testing.T, root string, next uint64) {
	t.Helper()
	got := map[string]int{}
	for _, text := range tree(t, root) {
		for line := range strings.Lines(text) {
			got[line]++
		}
	}
	for n := 1; n < int(next); n++ {
		if line := lines(n, n); got[line] != 1 {
			t.Fatalf("line %d is in the files %d times, want once", n, got[line])
		}
	}
	if len(got) != int(next-1) {
		t.Fatalf("got %d lines, want %d", len(got), next-1)
	}
}

// The state names a part until the directory with its final name is synced.
func TestFile_SyncsTheDirectoryBeforeTheStateForgetsAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := open(t, options(dir))
		state := mustSend(t, f, 1, 1)
		f.Roll()
		var failures, syncs atomic.Int32
		failures.Store(2)
		f.FailDisk(func(call string) error {
			if call != "sync directory" {
				return nil
			}
			if failures.Add(-1) >= 0 {
				return errors.New("broken")
			}
			syncs.Add(1)
			return nil
		})
		f.Committed(state)
		synctest.Wait()
		checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 1)})
		if got := string(f.State()); syncs.Load() > 0 || !strings.Contains(got, "clicks-1") {
			t.Fatalf("after a failed sync: %d syncs, state %s; want the file named", syncs.Load(), got)
		}
		time.Sleep(time.Minute) // retries
		synctest.Wait()
		if got := string(f.State()); syncs.Load() != 1 || strings.Contains(got, "clicks-1") {
			t.Fatalf("got %d syncs of the directory, state %s; want one, and the file not named any more", syncs.Load(), got)
		}
	})
}
