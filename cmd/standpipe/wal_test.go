package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/wal"
)

// makeLog makes a log of several segments and returns its data directory.
func makeLog(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.OpenCursor("clicks", "archive"); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		b := &wal.Batch{Stream: "clicks", Events: []wal.Event{{
			Key: fmt.Sprint("k", i%3), Data: fmt.Appendf(nil, "<%d>%s", i, strings.Repeat("é", 4_000)),
			Time: time.Date(2026, 11, 1, 0, i, 0, 0, time.UTC).UnixNano(), Attributes: map[string]string{"n": fmt.Sprint(i)},
		}}}
		if _, err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	bytes := &wal.Batch{Stream: "bytes", Events: []wal.Event{{Key: "b", Data: []byte{0xff, 0}, Time: 1}}}
	if _, err := l.Append(t.Context(), bytes); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWALTable(t *testing.T) {
	dir := makeLog(t)
	got := runWith("wal", "ls", dir)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("got %+v", got)
	}
	for _, want := range []string{"0000000000000001.seg", "sealed", "active", "clicks 1-", "(1 event", "clicks archive", "100%"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("got\n%swant %q in it", got.stdout, want)
		}
	}
	for line := range strings.Lines(got.stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && !strings.Contains(line, dir) {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

func TestWALTable_AsJSON(t *testing.T) {
	got := runWith("wal", "ls", "--json", makeLog(t))
	var doc walJSON
	if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil || got.code != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if len(doc.Segments) < 3 || len(doc.Streams) != 2 || doc.Streams[1].Next != 61 || len(doc.Cursors) != 1 || doc.Cursors[0].Pending.Events != 60 {
		t.Errorf("got %+v", doc)
	}
}

func TestWALDump(t *testing.T) {
	dir := makeLog(t)
	tests := []struct {
		args string
		want int
	}{
		{"", 61},
		{"--stream clicks", 60},
		{"--stream clicks --key k1", 20},
		{"--stream clicks --from 11 --to 21", 10},
		{"--since 2026-11-01T00:10:00Z --until 2026-11-01T00:20:00Z", 10},
		{"--stream clicks --limit 7", 7},
		{"--since 1ns", 0},
		{"--since -1ns", 0},
		{"--until -1h --stream clicks --from 60", 1},
	}
	for _, test := range tests {
		got := runWith(append([]string{"wal", "dump", dir}, strings.Fields(test.args)...)...)
		if n := strings.Count(got.stdout, "\n"); n != test.want || got.code != 0 || got.stderr != "" {
			t.Errorf("%s: got %d lines, exit code %d, %q; want %d", test.args, n, got.code, got.stderr, test.want)
		}
	}
}

func TestWALDump_Lines(t *testing.T) {
	dir := makeLog(t)
	got := runWith("wal", "dump", dir, "--stream", "clicks", "--from", "3", "--to", "4")
	want := `{"stream":"clicks","offset":3,"time":"2026-11-01T00:02:00Z","key":"k2","lane":` +
		fmt.Sprint(wal.LaneOf("k2")) + `,"attributes":{"n":"2"},"data":"<2>` + strings.Repeat("é", 4_000) + "\"}\n"
	if got.stdout != want {
		t.Errorf("got %.200s, want %.200s", got.stdout, want)
	}
	got = runWith("wal", "dump", dir, "--stream", "bytes")
	if want := `"data_base64":"` + base64.StdEncoding.EncodeToString([]byte{0xff, 0}) + `"`; !strings.Contains(got.stdout, want) || strings.Contains(got.stdout, `"data":`) {
		t.Errorf("got %s, want %s", got.stdout, want)
	}
}

func TestWALVerify(t *testing.T) {
	got := runWith("wal", "verify", makeLog(t))
	if got.code != 0 || !strings.HasPrefix(got.stdout, "ok: ") || !strings.Contains(got.stdout, " 61 events ") || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
}

// breakEvent changes the bytes of an event that begins with the text.
func breakEvent(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.ReplaceAll(b, []byte(text), bytes.Repeat([]byte("!"), len(text)))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWAL_OnADamagedLog(t *testing.T) {
	dir := makeLog(t)
	path := filepath.Join(dir, "wal", "0000000000000001.seg")
	breakEvent(t, path, "<3>")
	verify := runWith("wal", "verify", dir)
	if verify.code != 1 || !strings.Contains(verify.stdout, `damage: wal: `+path+`: stream "clicks", block 4: `) ||
		!strings.Contains(verify.stdout, "damaged, 1 place: ") {
		t.Errorf("got %+v", verify)
	}
	dump := runWith("wal", "dump", dir)
	if dump.code != 1 || strings.Count(dump.stdout, "\n") != 60 || !strings.Contains(dump.stderr, "block 4") {
		t.Errorf("got exit code %d, %d lines, %q", dump.code, strings.Count(dump.stdout, "\n"), dump.stderr)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ls := runWith("wal", "ls", dir); ls.code != 0 || !strings.Contains(ls.stdout, "unreadable") {
		t.Errorf("got %+v", ls)
	}
}

func TestWAL_CommandLines(t *testing.T) {
	empty := t.TempDir()
	tests := []struct {
		args   string
		code   int
		stderr string
	}{
		{"wal", 2, "a command is missing"},
		{"wal nonsense", 2, `unknown command "nonsense"`},
		{"wal ls", 2, "0 arguments given; the command is: standpipe wal ls DATA_DIR"},
		{"wal verify a b", 2, "2 arguments given; the command is: standpipe wal verify DATA_DIR"},
		{"wal dump --from x " + empty, 2, "invalid argument"},
		{"wal dump --since yesterday " + empty, 2, "want a time such as"},
		{"wal dump --until -5 " + empty, 2, "want a time such as"},
		{"wal ls " + empty, 1, "no log here"},
		{"wal dump " + empty, 1, "no log here"},
		{"wal verify " + empty, 1, "no log here"},
		{"wal verify /does/not/exist", 1, "no such file or directory"},
		{"wal dump --stream click " + makeLog(t), 1, `the log has no stream "click"; it has bytes, clicks`},
	}
	for _, test := range tests {
		got := runWith(strings.Fields(test.args)...)
		if got.code != test.code || !strings.Contains(got.stderr, test.stderr) || got.stdout != "" {
			t.Errorf("standpipe %s: got %+v, want %d, %q", test.args, got, test.code, test.stderr)
		}
	}
}

func TestWALTable_ShareIsNotRoundedToAllOrNothing(t *testing.T) {
	for want, of := range map[string][2]uint64{"-": {0, 0}, "0%": {0, 5}, "100%": {5, 5}, "1%": {1, 1000}, "99%": {999, 1000}, "50%": {1, 2}} {
		if got := share(of[0], of[1]); got != want {
			t.Errorf("share of %v: got %s, want %s", of, got, want)
		}
	}
}

func TestWALSnapshot(t *testing.T) {
	dir, out := makeLog(t), filepath.Join(t.TempDir(), "copy")
	got := runWith("wal", "snapshot", dir, out)
	if want := out + ": verified, "; got.code != 0 || !strings.HasPrefix(got.stdout, want) || !strings.Contains(got.stdout, "61 events") {
		t.Errorf("got %+v, want %q and the events", got, want)
	}
	if got := runWith("wal", "verify", out); got.code != 0 {
		t.Errorf("the copy: %+v", got)
	}
	if got := runWith("wal", "snapshot", dir, out); got.code != 1 || !strings.Contains(got.stderr, "not empty") {
		t.Errorf("over a copy: got %+v", got)
	}
	var report struct {
		Segments int
		Events   uint64
		Exact    bool
		Damage   []string
	}
	got = runWith("wal", "snapshot", "--json", dir, t.TempDir())
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != 0 {
		t.Fatalf("got %+v: %v", got, err)
	}
	if report.Segments < 2 || report.Events != 61 || !report.Exact || report.Damage == nil {
		t.Errorf("got %+v", report)
	}
}
