package walcmd_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/wal"
)

// exported returns the contents of the files in a folder, one after another, and their names.
func exported(t *testing.T, folder string) (text string, names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
		names = append(names, e.Name())
	}
	return text, names
}

func TestWALExport_IsTheDumpInFiles(t *testing.T) {
	dir, out := makeLog(t), filepath.Join(t.TempDir(), "deep", "out")
	want := run("wal", "dump", dir, "--stream", "clicks").Stdout
	got := run("wal", "export", dir, "clicks", "--out", out, "--roll-size", "200KB")
	if got.Code != 0 || got.Stderr != "" || !strings.Contains(got.Stdout, "clicks: 60 events in 476 KiB, 3 files\n") {
		t.Errorf("got %+v", got)
	}
	text, names := exported(t, out)
	if text != want {
		t.Errorf("got %d bytes in %v, want %d as dump prints them", len(text), names, len(want))
	}
	wantNames := []string{"clicks-000000000001-000000000025.jsonl", "clicks-000000000026-000000000050.jsonl", "clicks-000000000051-000000000060.jsonl"}
	if !slices.Equal(names, wantNames) {
		t.Errorf("got %v, want %v", names, wantNames)
	}
}

func TestWALExport_Continues(t *testing.T) {
	dir, out := makeLog(t), t.TempDir()
	export := func() clitest.Outcome {
		return run("wal", "export", dir, "clicks", "--out", out, "--raw", "--roll-size", "1KiB")
	}
	if got := export(); got.Code != 0 {
		t.Fatalf("got %+v", got)
	}
	whole, names := exported(t, out)
	for _, name := range names[40:] {
		if err := os.Remove(filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	// An interrupted file has a temporary name and is written again.
	if err := os.WriteFile(filepath.Join(out, "clicks.txt.tmp"), []byte("half a li"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := export()
	if got.Code != 0 || !strings.Contains(got.Stderr, "clicks: goes on after offset 40, ") || !strings.Contains(got.Stdout, "20 events") {
		t.Errorf("got %+v", got)
	}
	if text, _ := exported(t, out); text != whole || !strings.HasPrefix(whole, "<0>é") {
		t.Errorf("got %d bytes after two exports, want the %d of one", len(text), len(whole))
	}
	if got := export(); got.Code != 0 || got.Stdout != "clicks: no event to export\n" {
		t.Errorf("got %+v when there is nothing left", got)
	}
}

func TestWALExport_Filters(t *testing.T) {
	dir, out := makeLog(t), t.TempDir()
	got := run("wal", "export", dir, "clicks", "--out", out, "--key", "k1", "--from", "11", "--to", "31", "--since", "2026-11-01T00:15:00Z")
	text, _ := exported(t, out)
	want := ""
	for _, offset := range []string{"17", "20", "23", "26", "29"} {
		want += run("wal", "dump", dir, "--stream", "clicks", "--from", offset, "--limit", "1").Stdout
	}
	if got.Code != 0 || text != want {
		t.Errorf("got %d lines and %+v, want 5", strings.Count(text, "\n"), got)
	}
}

func TestWALExport_Rejections(t *testing.T) {
	dir, out := makeLog(t), t.TempDir()
	lines := &wal.Batch{Stream: "lines", Events: []wal.Event{{Key: "k", Data: []byte("a\nb"), Time: 1}}}
	l, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Append(t.Context(), lines)
	if closeErr := l.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	tests := []struct {
		args   string
		code   int
		stderr string
	}{
		{dir + " clicks", 2, `required flag(s) "out"`},
		{dir + " clicks --out " + out + " --roll-size 5parsecs", 2, `--roll-size "5parsecs": want a size such as 64MiB`},
		{dir + " clicks --out " + out + " --since yesterday", 2, "want a time such as"},
		{dir + " nobody --out " + out, 1, `the log has no stream "nobody"; it has bytes, clicks, lines`},
		{dir + " clicks --out " + filepath.Join(dir, "LOCK"), 1, "not a directory"},
		{out + " clicks --out " + out, 1, "no log here"},
		{dir + " lines --raw --out " + out, 0, "1 event with newlines in the data"},
	}
	for _, test := range tests {
		got := run(append([]string{"wal", "export"}, strings.Fields(test.args)...)...)
		if got.Code != test.code || !strings.Contains(got.Stderr, test.stderr) {
			t.Errorf("wal export %s: got %+v, want %d, %q", test.args, got, test.code, test.stderr)
		}
	}
}

func TestWALExport_OfADamagedLog(t *testing.T) {
	dir, out := makeLog(t), t.TempDir()
	breakEvent(t, filepath.Join(dir, "wal", "0000000000000001.seg"), "<3>")
	got := run("wal", "export", dir, "clicks", "--out", out)
	text, _ := exported(t, out)
	if got.Code != 1 || !strings.Contains(got.Stderr, "block 4") || strings.Count(text, "\n") != 59 {
		t.Errorf("got %+v and %d lines, want all but one and exit code 1", got, strings.Count(text, "\n"))
	}
}

func TestWALTable_ListsMissingOffsets(t *testing.T) {
	dir := makeLog(t)
	path := filepath.Join(dir, "wal", "0000000000000002.seg")
	if err := os.Rename(path, path+".corrupt"); err != nil {
		t.Fatal(err)
	}
	got := run("wal", "ls", dir)
	if !strings.Contains(got.Stdout, "missing offsets\n  clicks ") || !strings.Contains(got.Stdout, "): they were in wal/0000000000000002.seg.corrupt\n") {
		t.Errorf("got\n%s", got.Stdout)
	}
	got = run("wal", "ls", "--json", dir)
	if !strings.Contains(got.Stdout, `"missing": [
    {
      "stream": "clicks",
      "first_offset": `) {
		t.Errorf("got\n%s", got.Stdout)
	}
}
