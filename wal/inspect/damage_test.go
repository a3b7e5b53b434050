package inspect_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// linkLog returns a data directory with hard links to the segments of another one.
func linkLog(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.Mkdir(filepath.Join(to, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range walkit.SegmentFiles(t, dir) {
		if err := os.Link(path, filepath.Join(to, "wal", filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// flip returns a change that inverts the first byte of each occurrence of text.
func flip(t testing.TB, text string) func(b []byte) []byte {
	return func(b []byte) []byte {
		i := bytes.Index(b, []byte(text))
		if i < 0 {
			t.Fatalf("%q is not in the file", text)
		}
		for ; i >= 0; i = bytes.Index(b, []byte(text)) { // also in older copies of the page that bbolt left behind
			b[i] ^= 0xff
		}
		return b
	}
}

// holding returns the path of the segment that holds the text.
func holding(t testing.TB, dir, text string) string {
	t.Helper()
	for _, path := range walkit.SegmentFiles(t, dir) {
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(text)) {
			return path
		}
	}
	t.Fatalf("no segment holds %q", text)
	return ""
}

func TestAFlippedByteIsFoundAndTheRestIsDumped(t *testing.T) {
	source := t.TempDir()
	fillLog(t, source)
	for _, needle := range []string{"00003x", "00075x", "00149x"} { // in the oldest, a middle and the newest segment
		dir := linkLog(t, source)
		path := holding(t, dir, needle)
		walkit.Edit(t, path, flip(t, needle))
		report := walkit.Verify(t, dir)
		if report.Damaged != 1 || report.Damage[0].File != path || report.Damage[0].Stream != "clicks" {
			t.Errorf("%s: got %v, want one in %s", needle, report.Damage, path)
		}
		var n int
		fmt.Sscanf(needle, "%05d", &n)
		if o := report.Damage[0].Offset; o == 0 || o > uint64(n+1) || o+1 < uint64(n+1) {
			t.Errorf("%s: got block %d, want that of event %d", needle, o, n+1)
		}
		events, damage := dumpAll(t, dir, inspect.DumpOptions{})
		if len(damage) != 1 || len(events) < 198 || len(events) > 199 {
			t.Errorf("%s: got %d events and %v", needle, len(events), damage)
		}
		if err := inspect.Dump(t.Context(), dir, inspect.DumpOptions{}, func(inspect.DumpedEvent) error { return nil }); err == nil {
			t.Errorf("%s: got no error from a dump that tells nobody of damage", needle)
		}
	}
}

// leaf returns the position of a leaf page of the blocks that is in use.
func leaf(t testing.TB, b []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	at := 0
	err := boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) error {
		if err := s.Check(func([]byte, uint64) func(boltpage.Element) error { return func(boltpage.Element) error { return nil } }); err != nil {
			return err
		}
		for _, page := range s.Pages() {
			page := int(page) * walkit.BoltPage
			number, flags, keyLength := binary.NativeEndian.Uint64(b[page:]), binary.NativeEndian.Uint16(b[page+8:]), binary.NativeEndian.Uint32(b[page+24:])
			if number == uint64(page/walkit.BoltPage) && flags == 2 && keyLength == 8 {
				at = page
			}
		}
		return nil
	})
	if err != nil || at == 0 {
		t.Fatalf("got page %d, %v, want a leaf of blocks", at/walkit.BoltPage, err)
	}
	return at
}

// The tools find every kind of damage to a file without a panic, and dump the events of the other segments.
func TestDamagedSegmentsAreFound(t *testing.T) {
	damages := map[string]func(b []byte) []byte{
		"empty":           func(b []byte) []byte { return nil },
		"one byte":        func(b []byte) []byte { return b[:1] },
		"only zeros":      func(b []byte) []byte { return make([]byte, len(b)) },
		"one meta page":   func(b []byte) []byte { return b[:walkit.BoltPage] },
		"both metas":      func(b []byte) []byte { clear(b[:2*walkit.BoltPage]); return b },
		"cut short":       func(b []byte) []byte { return b[:leaf(t, b)] },
		"no bbolt file":   func(b []byte) []byte { return []byte(strings.Repeat("a text", 10_000)) },
		"pages zeroed":    func(b []byte) []byte { clear(b[2*walkit.BoltPage:]); return b },
		"a leaf's header": func(b []byte) []byte { at := leaf(t, b); clear(b[at : at+16]); return b },
		"a leaf's count":  func(b []byte) []byte { binary.NativeEndian.PutUint16(b[leaf(t, b)+10:], 60_000); return b },
		"a leaf's length": func(b []byte) []byte { binary.NativeEndian.PutUint32(b[leaf(t, b)+12:], 1<<31); return b },
		"a leaf's key":    func(b []byte) []byte { binary.NativeEndian.PutUint32(b[leaf(t, b)+16+4:], 1<<30); return b },
	}
	source := t.TempDir()
	fillLog(t, source)
	for name, damage := range damages {
		for _, newest := range []bool{false, true} {
			dir := linkLog(t, source)
			files := walkit.SegmentFiles(t, dir)
			path := files[1]
			if newest {
				path = files[len(files)-1]
			}
			walkit.Edit(t, path, damage)
			report := walkit.Verify(t, dir)
			if report.Damaged == 0 || report.Damage[0].File != path {
				t.Errorf("%s, newest %v: got %d, %v, want damage of %s", name, newest, report.Damaged, report.Damage, path)
			}
			if events, damage := dumpAll(t, dir, inspect.DumpOptions{}); len(damage) == 0 || len(events) < 100 || len(events) >= 200 {
				t.Errorf("%s, newest %v: got %d events and damage %v", name, newest, len(events), damage)
			}
			if _, err := inspect.Inspect(t.Context(), dir); err != nil {
				t.Errorf("%s, newest %v: %v", name, newest, err)
			}
		}
	}
}

// For any damage to pages, the tools end, and they find all damage that a reader would find.
func TestRandomDamageNeverBreaksTheTools(t *testing.T) {
	seed := uint64(os.Getpid())
	r := rand.New(rand.NewPCG(seed, 1))
	source := t.TempDir()
	fillLog(t, source)
	for range 100 {
		dir := linkLog(t, source)
		files := walkit.SegmentFiles(t, dir)
		walkit.Edit(t, files[r.IntN(len(files))], func(b []byte) []byte {
			for range 1 + r.IntN(20) {
				page := r.IntN(min(80, len(b)/walkit.BoltPage)) // about as many as are in use
				b[page*walkit.BoltPage+r.IntN([]int{16, 64, walkit.BoltPage}[r.IntN(3)])] ^= byte(1 + r.IntN(255))
			}
			return b
		})
		report := walkit.Verify(t, dir)
		events, damage := dumpAll(t, dir, inspect.DumpOptions{})
		if len(damage) > 0 && report.Damaged == 0 {
			t.Errorf("seed %d: a dump met %v, verify nothing", seed, damage)
		}
		if len(events) < 200 && report.Damaged == 0 {
			t.Errorf("seed %d: a dump gave %d of 200 events, verify found nothing", seed, len(events))
		}
	}
}

func TestAMissingSegmentIsDamageOnlyWhileItIsNeeded(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	files := walkit.SegmentFiles(t, dir)
	if err := os.Remove(files[2]); err != nil {
		t.Fatal(err)
	}
	report := walkit.Verify(t, dir)
	if report.Damaged == 0 || !strings.Contains(report.Damage[0].Reason, "missing") {
		t.Errorf("got %v, want missing events", report.Damage)
	}
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10}) // Open counts the events as dropped
	walkit.Sync(t, l)
	if got := walkit.WantSound(t, dir); len(got.Notes) == 0 || !strings.Contains(got.Notes[0], "are gone") {
		t.Errorf("got notes %q, want them to tell of the gap", got.Notes)
	}
}

func TestAMissingNewestSegmentIsDamage(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	files := walkit.SegmentFiles(t, dir)
	if err := os.Remove(files[len(files)-1]); err != nil {
		t.Fatal(err)
	}
	if got := walkit.Verify(t, dir); got.Damaged != 1 || !strings.Contains(got.Damage[0].Reason, "a later segment") {
		t.Errorf("got %v", got.Damage)
	}
}

func TestASegmentThatWasSetAsideIsNoted(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	walkit.Edit(t, walkit.SegmentFiles(t, dir)[1], func(b []byte) []byte { return make([]byte, len(b)) })
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
	walkit.Sync(t, l)
	got := walkit.WantSound(t, dir)
	if !strings.Contains(strings.Join(got.Notes, "\n"), ".corrupt") {
		t.Errorf("got notes %q, want the file that was set aside", got.Notes)
	}
	in, err := inspect.Inspect(t.Context(), dir)
	if err != nil || len(in.SetAside) != 1 || in.SetAside[0].Size == 0 {
		t.Errorf("got %+v, %v, want one file set aside", in, err)
	}
	if _, damage := dumpAll(t, dir, inspect.DumpOptions{}); len(damage) > 0 {
		t.Errorf("got damage %v from a dump", damage)
	}
}

func TestASegmentOfAnotherLogIsDamage(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	fillLog(t, dir)
	fillLog(t, other)
	foreign, err := os.ReadFile(walkit.SegmentFiles(t, other)[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(walkit.SegmentFiles(t, dir)[1], foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := walkit.Verify(t, dir); got.Damaged == 0 || !strings.Contains(got.Damage[0].Reason, "belongs to the log") {
		t.Errorf("got %v", got.Damage)
	}
}

func TestAnUnfinishedSegmentIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	fillLog(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "wal", "0000000000000099.seg.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := walkit.WantSound(t, dir); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "not finished") {
		t.Errorf("got notes %q", got.Notes)
	}
}
