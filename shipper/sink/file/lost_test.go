package file_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper/sink/file"
)

// meddle is a change that another process makes to the current file at tmp. The destination's path is out, below root.
type meddle struct {
	name string
	do   func(root, tmp string, rng *rand.Rand) error
}

var meddles = []meddle{
	{"remove", func(_, tmp string, _ *rand.Rand) error { return os.Remove(tmp) }},
	{"cut to nothing", func(_, tmp string, _ *rand.Rand) error { return os.Truncate(tmp, 0) }},
	{"copy and truncate", func(root, tmp string, _ *rand.Rand) error {
		b, err := os.ReadFile(tmp)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "copy"), b[:bytes.LastIndexByte(b, '\n')+1], 0o600)
		}
		if err == nil {
			err = os.Truncate(tmp, 0)
		}
		return err
	}},
	{"cut in the middle", func(_, tmp string, rng *rand.Rand) error {
		info, err := os.Stat(tmp)
		if err == nil {
			err = os.Truncate(tmp, rng.Int64N(info.Size()))
		}
		return err
	}},
	{"rename", func(root, tmp string, _ *rand.Rand) error { return os.Rename(tmp, filepath.Join(root, "moved")) }},
	{"replace", func(root, tmp string, _ *rand.Rand) error {
		other := filepath.Join(root, "other")
		if err := os.WriteFile(other, []byte("somebody's\n"), 0o600); err != nil {
			return err
		}
		return os.Rename(other, tmp)
	}},
	{"symbolic link", func(root, tmp string, _ *rand.Rand) error {
		moved := filepath.Join(root, "moved")
		if err := os.Rename(tmp, moved); err != nil {
			return err
		}
		return os.Symlink(moved, tmp)
	}},
	{"remove the folder", func(_, tmp string, _ *rand.Rand) error { return os.RemoveAll(filepath.Dir(tmp)) }},
	{"move the folder", func(root, tmp string, _ *rand.Rand) error {
		return os.Rename(filepath.Dir(tmp), filepath.Join(root, "moved"))
	}},
	{"remove the path", func(root, _ string, _ *rand.Rand) error { return os.RemoveAll(filepath.Join(root, "out")) }},
	{"move the path", func(root, _ string, _ *rand.Rand) error {
		return os.Rename(filepath.Join(root, "out"), filepath.Join(root, "moved"))
	}},
	{"make the path anew", func(root, _ string, _ *rand.Rand) error {
		if err := os.Rename(filepath.Join(root, "out"), filepath.Join(root, "moved")); err != nil {
			return err
		}
		return os.MkdirAll(filepath.Join(root, "out", hour), 0o755)
	}},
}

// moments are the times of the change: before a Send, or in one of the disk calls that Sink makes for a batch.
var moments = []string{"before", "write", "sync"}

// lostRun sends batches while another process changes the files.
type lostRun struct {
	t    *testing.T
	root string
	f    *file.Sink
	log  bytes.Buffer
	next uint64
}

func newLostRun(t *testing.T) *lostRun {
	r := &lostRun{t: t, root: t.TempDir(), next: 1}
	o := options(filepath.Join(r.root, "out"))
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &r.log})
	r.f = open(t, o)
	return r
}

// send stores n lines with one Send and returns the state; an error fails the test.
func (r *lostRun) send(n int) []byte {
	r.t.Helper()
	state := mustSend(r.t, r.f, r.next, n)
	r.next += uint64(n)
	return state
}

// tmp returns the path of the one unfinished file below out.
func (r *lostRun) tmp() (path string) {
	r.t.Helper()
	err := filepath.WalkDir(filepath.Join(r.root, "out"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".tmp") {
			path = p
		}
		return err
	})
	if err != nil || path == "" {
		r.t.Fatalf("no unfinished file: %v", err)
	}
	return path
}

// count returns how often each line is in the files below root. It fails the test if a file has a NUL.
func (r *lostRun) count() map[string]int {
	r.t.Helper()
	lines := map[string]int{}
	for name, text := range tree(r.t, r.root) {
		if info, err := os.Lstat(filepath.Join(r.root, name)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if strings.Contains(text, "\x00") {
			r.t.Errorf("%s has NULs: %q", name, text)
		}
		for line := range strings.SplitSeq(text, "\n") {
			lines[line]++
		}
	}
	return lines
}

func TestFile_GoesOnInANewFileWhenSomebodyChangesTheOld(t *testing.T) {
	for seed, m := range meddles {
		for _, moment := range moments {
			t.Run(m.name+"/"+moment, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(seed), 1))
				r := newLostRun(t)
				before := 1 + rng.IntN(5)
				r.send(before)
				tmp := r.tmp()
				done := false
				meddle := func(call string) error {
					if call != moment || done {
						return nil
					}
					done = true
					return m.do(r.root, tmp, rng)
				}
				if err := meddle("before"); err != nil {
					t.Fatal(err)
				}
				r.f.FailDisk(meddle)
				for range 3 {
					r.send(1 + rng.IntN(5))
				}
				if err := r.f.Close(); err != nil {
					t.Fatal(err)
				}
				got := r.count()
				for n := before + 1; n < int(r.next); n++ {
					most := 1
					if m.name == "copy and truncate" { // the copy may have events that are not delivered yet
						most = 2
					}
					if line := fmt.Sprintf(`{"n":%d}`, n); got[line] < 1 || got[line] > most {
						t.Errorf("line %d is in the files %d times, want once", n, got[line])
					}
				}
				if n := strings.Count(r.log.String(), "changed by somebody else"); n != 1 {
					t.Errorf("told %d times, want once: %s", n, &r.log)
				}
			})
		}
	}
}

// A change after a file's last line, and before the file has its final name, is logged once.
func TestFile_TellsOfAFileThatWasLostBeforeItGotItsName(t *testing.T) {
	for seed, m := range meddles {
		for _, rolled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/rolled=%v", m.name, rolled), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newLostRun(t)
					state := r.send(5)
					tmp := r.tmp()
					if rolled {
						r.f.Roll()
					}
					if err := m.do(r.root, tmp, rand.New(rand.NewPCG(uint64(seed), 2))); err != nil {
						t.Fatal(err)
					}
					if !rolled {
						r.f.Roll()
					}
					r.f.Committed(state)
					synctest.Wait()
					r.send(1)
					if err := r.f.Close(); err != nil {
						t.Fatal(err)
					}
					if got := r.count()[`{"n":6}`]; got != 1 {
						t.Errorf("the next line is in the files %d times, want once", got)
					}
					if n := strings.Count(r.log.String(), "[ERROR]"); n != 1 {
						t.Errorf("told %d times, want once: %s", n, &r.log)
					}
					for name, text := range tree(t, filepath.Join(r.root)) {
						if strings.HasSuffix(name, ".jsonl") && (text == "" || strings.Contains(text, "somebody's")) {
							t.Errorf("%s: %q has an output file's name", name, text)
						}
					}
				})
			})
		}
	}
}
