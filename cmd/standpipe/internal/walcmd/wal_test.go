package walcmd_test

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

	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/walcmd"
	"github.com/standpipe/standpipe/wal"
)

func run(args ...string) clitest.Outcome { return clitest.Run(walcmd.New, args...) }

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
	got := run("wal", "ls", dir)
	if got.Code != 0 || got.Stderr != "" {
		t.Fatalf("got %+v", got)
	}
	for _, want := range []string{"0000000000000001.seg", "sealed", "active", "clicks 1-", "(1 event", "clicks archive", "100%"} {
		if !strings.Contains(got.Stdout, want) {
			t.Errorf("got\n%swant %q in it", got.Stdout, want)
		}
	}
	for line := range strings.Lines(got.Stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && !strings.Contains(line, dir) {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

func TestWALTable_AsJSON(t *testing.T) {
	got := run("wal", "ls", "--json", makeLog(t))
	var doc struct {
		Segments []struct{ Number uint64 }
		Streams  []struct {
			Next uint64 `json:"next_offset"`
		}
		Cursors []struct{ Pending struct{ Events uint64 } } `json:"destinations"`
	}
	if err := json.Unmarshal([]byte(got.Stdout), &doc); err != nil || got.Code != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if len(doc.Segments) < 3 || len(doc.Streams) != 2 || doc.Streams[1].Next != 61 || len(doc.Cursors) != 1 || doc.Cursors[0].Pending.Events != 60 {
		t.Errorf("got %+v", doc)
	}
}

// The table and the JSON have the states that an agent stored: parked, paused, forgotten.
func TestWALTable_OfParkedAndPausedDestinations(t *testing.T) {
	dir := makeLog(t)
	l, err := wal.Open(t.Context(), wal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"gone", "old", "quiet"} {
		p, err := l.OpenCursor("clicks", name)
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "gone":
			p.Park()
			if _, err := p.Forget(t.Context()); err != nil {
				t.Fatal(err)
			}
		case "old":
			p.Park()
		case "quiet":
			p.Pause(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
		}
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run("wal", "ls", dir); got.Code != 0 || strings.Count(got.Stdout, " since ") != 3 || !strings.Contains(got.Stdout, "\n  parked and forgotten since ") ||
		!strings.Contains(got.Stdout, "\n  parked since ") || !strings.Contains(got.Stdout, "\n  paused since 2026-11-20 12:00:00 UTC\n") {
		t.Errorf("got %+v", got)
	}
	got := run("wal", "ls", "--json", dir)
	var doc struct {
		Destinations []map[string]any
	}
	if err := json.Unmarshal([]byte(got.Stdout), &doc); err != nil || len(doc.Destinations) != 4 {
		t.Fatalf("got %+v, %v, want 4 destinations", got, err)
	}
	has := ""
	for _, d := range doc.Destinations {
		has += fmt.Sprint(d["name"])
		for _, field := range []string{"parked_at", "paused_at", "forgotten"} {
			if d[field] != nil {
				has += " " + field
			}
		}
		has += "; "
	}
	if want := "archive; gone parked_at forgotten; old parked_at; quiet paused_at; "; has != want {
		t.Errorf("got %q, want %q", has, want)
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
		got := run(append([]string{"wal", "dump", dir}, strings.Fields(test.args)...)...)
		if n := strings.Count(got.Stdout, "\n"); n != test.want || got.Code != 0 || got.Stderr != "" {
			t.Errorf("%s: got %d lines, exit code %d, %q; want %d", test.args, n, got.Code, got.Stderr, test.want)
		}
	}
}

func TestWALDump_Lines(t *testing.T) {
	dir := makeLog(t)
	got := run("wal", "dump", dir, "--stream", "clicks", "--from", "3", "--to", "4")
	want := `{"stream":"clicks","offset":3,"time":"2026-11-01T00:02:00Z","key":"k2","lane":` +
		fmt.Sprint(wal.LaneOf("k2")) + `,"attributes":{"n":"2"},"data":"<2>` + strings.Repeat("é", 4_000) + "\"}\n"
	if got.Stdout != want {
		t.Errorf("got %.200s, want %.200s", got.Stdout, want)
	}
	got = run("wal", "dump", dir, "--stream", "bytes")
	if want := `"data_base64":"` + base64.StdEncoding.EncodeToString([]byte{0xff, 0}) + `"`; !strings.Contains(got.Stdout, want) || strings.Contains(got.Stdout, `"data":`) {
		t.Errorf("got %s, want %s", got.Stdout, want)
	}
}

func TestWALVerify(t *testing.T) {
	got := run("wal", "verify", makeLog(t))
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "ok: ") || !strings.Contains(got.Stdout, " 61 events ") || got.Stderr != "" {
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
	verify := run("wal", "verify", dir)
	if verify.Code != 1 || !strings.Contains(verify.Stdout, `damage: wal: `+path+`: stream "clicks", block 4: `) ||
		!strings.Contains(verify.Stdout, "damaged, 1 place: ") {
		t.Errorf("got %+v", verify)
	}
	dump := run("wal", "dump", dir)
	if dump.Code != 1 || strings.Count(dump.Stdout, "\n") != 60 || !strings.Contains(dump.Stderr, "block 4") {
		t.Errorf("got exit code %d, %d lines, %q", dump.Code, strings.Count(dump.Stdout, "\n"), dump.Stderr)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ls := run("wal", "ls", dir); ls.Code != 0 || !strings.Contains(ls.Stdout, "unreadable") {
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
		got := run(strings.Fields(test.args)...)
		if got.Code != test.code || !strings.Contains(got.Stderr, test.stderr) || got.Stdout != "" {
			t.Errorf("standpipe %s: got %+v, want %d, %q", test.args, got, test.code, test.stderr)
		}
	}
}

func TestWALSnapshot(t *testing.T) {
	dir, out := makeLog(t), filepath.Join(t.TempDir(), "copy")
	got := run("wal", "snapshot", dir, out)
	if want := out + ": verified, "; got.Code != 0 || !strings.HasPrefix(got.Stdout, want) || !strings.Contains(got.Stdout, "61 events") {
		t.Errorf("got %+v, want %q and the events", got, want)
	}
	if got := run("wal", "verify", out); got.Code != 0 {
		t.Errorf("the copy: %+v", got)
	}
	if got := run("wal", "snapshot", dir, out); got.Code != 1 || !strings.Contains(got.Stderr, "not empty") {
		t.Errorf("over a copy: got %+v", got)
	}
	var report struct {
		Segments int
		Events   uint64
		Exact    bool
		Damage   []string
	}
	got = run("wal", "snapshot", "--json", dir, t.TempDir())
	if err := json.Unmarshal([]byte(got.Stdout), &report); err != nil || got.Code != 0 {
		t.Fatalf("got %+v: %v", got, err)
	}
	if report.Segments < 2 || report.Events != 61 || !report.Exact || report.Damage == nil {
		t.Errorf("got %+v", report)
	}
}
