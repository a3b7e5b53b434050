package wal_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
)

// syscallLine matches a line of strace -f -y: a call, or its end if other calls came between. The paths are those of
// the descriptors and of the arguments.
var (
	syscallLine = regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)$`)
	openPath    = regexp.MustCompile(`<(/[^>]*)>`)
	namedPath   = regexp.MustCompile(`"(/[^"]*)"`)
)

// durability follows the system calls of a log, and tracks the changes that a power loss could undo.
type durability struct {
	t        *testing.T
	open     map[string]string         // by thread: the arguments of a call that has not returned
	unsynced map[string]bool           // files with writes that no sync has followed
	unnamed  map[string]string         // files renamed since the last sync of their folder: the former name
	renamed  map[string]map[string]int // number of renames, by the file's ending before and after
	named    map[string]bool           // names that a rename has given
	replaced int                       // number of files that a rename replaced
}

// TestDurability_IsInOrder follows every write, sync and rename of a log that rolls, compacts, sets segments aside and
// stores dead letters. A file is synced before it gets its name. Its folder is synced before anything is written to the
// file under that name, so that acked events in the file cannot be lost together with the name.
func TestDurability_IsInOrder(t *testing.T) {
	strace := testkit.Tool(t, "strace")
	t.Run("rolls, rewrites and letters", func(t *testing.T) {
		d := follow(t, strace, shortWorkload, t.TempDir())
		d.wantRenames(".seg.new", ".seg", 8)
		if d.replaced == 0 {
			t.Error("got no segment rewritten")
		}
		d.wantRenames(".db.new", ".db", 1)
	})
	for name, damaged := range map[string][]int{"sealed": {1}, "newest": {-1}, "both": {1, -1}} {
		t.Run("set aside/"+name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, stepsOptions(dir))
			for n := range 20 {
				_, err := l.Append(t.Context(), stepBatch(n))
				must(t, err)
			}
			must(t, l.Close())
			files, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
			must(t, err)
			for _, i := range damaged {
				overwrite(t, files[(i+len(files))%len(files)], 0, make([]byte, 8192))
			}
			d := follow(t, strace, stepsWorkload, dir)
			d.wantRenames(".seg", ".seg.corrupt", len(damaged))
		})
	}
}

// follow runs a workload under strace and checks the order of its calls.
func follow(t *testing.T, strace, workload, dir string) *durability {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-s", "8", "-o", trace, "-e", "trace=pwrite64,fsync,fdatasync,/^rename", os.Args[0])
	cmd.Env = append(os.Environ(), workload+"="+dir, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls, err := os.ReadFile(trace)
	must(t, err)
	d := &durability{t, make(map[string]string), make(map[string]bool), make(map[string]string), make(map[string]map[string]int), make(map[string]bool), 0}
	for lines := bufio.NewScanner(bytes.NewReader(calls)); lines.Scan(); {
		d.line(lines.Text())
	}
	return d
}

func (d *durability) line(line string) {
	m := syscallLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	thread, call, args := m[1], m[2], m[3]
	begins, ends := !strings.Contains(line, "resumed>"), !strings.Contains(line, "<unfinished")
	if !begins {
		args = d.open[thread] + args
	} else if !ends {
		d.open[thread] = args
	}
	kind := openPath
	if strings.HasPrefix(call, "rename") {
		kind = namedPath
	}
	paths := kind.FindAllStringSubmatch(args, -1)
	if len(paths) == 0 || ends && strings.Contains(args, "= -1") {
		return
	}
	first, last := paths[0][1], paths[len(paths)-1][1]
	switch {
	case call == "pwrite64" && begins:
		d.wrote(first)
	case strings.HasSuffix(call, "sync") && ends:
		d.synced(first)
	case strings.HasPrefix(call, "rename") && begins:
		d.rename(first, last)
	}
}

func (d *durability) wrote(path string) {
	if from, unnamed := d.unnamed[path]; unnamed {
		d.t.Errorf("%s was written to before the folder was synced, since it was %s", filepath.Base(path), filepath.Base(from))
	}
	d.unsynced[path] = true
	if endingOf(path) != ".seg" {
		return
	}
	for name := range d.unnamed {
		if strings.HasSuffix(name, ".corrupt") {
			d.t.Errorf("%s was written to before the folder was synced, since %s was set aside", filepath.Base(path), filepath.Base(name))
		}
	}
}

func (d *durability) synced(path string) {
	delete(d.unsynced, path)
	for name := range d.unnamed {
		if filepath.Dir(name) == path {
			delete(d.unnamed, name)
		}
	}
}

func (d *durability) rename(from, to string) {
	if d.unsynced[from] {
		d.t.Errorf("%s became %s before it was synced", filepath.Base(from), filepath.Base(to))
	}
	delete(d.unsynced, from)
	d.unnamed[to] = from
	a, b := endingOf(from), endingOf(to)
	if d.renamed[a] == nil {
		d.renamed[a] = make(map[string]int)
	}
	d.renamed[a][b]++
	if d.named[to] {
		d.replaced++
	}
	d.named[to] = true
}

// endingOf returns a file's name from its first dot on.
func endingOf(path string) string {
	name := filepath.Base(path)
	return name[strings.Index(name, "."):]
}

func (d *durability) wantRenames(from, to string, least int) {
	d.t.Helper()
	if got := d.renamed[from][to]; got < least {
		d.t.Errorf("got %d files of %s renamed to %s, want %d at least: %v", got, from, to, least, fmt.Sprint(d.renamed))
	}
}
