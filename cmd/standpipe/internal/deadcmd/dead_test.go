package deadcmd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/deadcmd"
)

var started = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func run(args ...string) clitest.Outcome { return clitest.Run(deadcmd.New, args...) }

// deadAgent responds like an admin listener and records the requests.
type deadAgent struct {
	asked   []string
	answers []any // one each; a string is a refusal
}

func (d *deadAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.asked = append(d.asked, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), body)))
	next := d.answers[0]
	d.answers = d.answers[1:]
	if text, ok := next.(string); ok {
		http.Error(w, text, http.StatusNotFound)
		return
	}
	json.NewEncoder(w).Encode(next)
}

// runDead runs a command against an agent that gives the answers.
func runDead(t *testing.T, args string, answers ...any) (clitest.Outcome, []string) {
	t.Helper()
	d := &deadAgent{answers: answers}
	s := httptest.NewServer(d)
	defer s.Close()
	return run(append(strings.Fields("dead "+args), "--address", s.Listener.Addr().String())...), d.asked
}

func wantAsked(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got the requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func sampleLetter(id uint64) admin.DeadStat {
	return admin.DeadStat{
		ID: id, Stream: "clicks", Destination: "archive", Offset: 17, Key: "u1", Bytes: 1234,
		Reason: "InvalidArgumentException: the record is not what this stream takes, and never will be", RefusedAt: admin.Time{Time: started},
	}
}

func TestDeadTable(t *testing.T) {
	long := sampleLetter(12345678)
	long.Stream, long.Destination = strings.Repeat("stream-", 5), strings.Repeat("ä", 20)
	long.Key, long.Reason = strings.Repeat("k", 256), "no\x1b[2J"
	bad := admin.DeadStat{ID: 3, Damage: "wal: dead.db: dead letter 3: the letter's checksum does not match"}
	got, asked := runDead(t, "ls", admin.DeadList{Letters: []admin.DeadStat{sampleLetter(1)}, Next: 1},
		admin.DeadList{Letters: []admin.DeadStat{long, bad}})
	want := `      id stream               destination      refused at (UTC)        bytes
       1 clicks               archive          2026-11-20 12:00:00     1,234
         offset 17, key "u1": InvalidArgumentException: the record is not what
         this stream takes, and never will be
12345678 stream-stream-strea… äääääääääääääää… 2026-11-20 12:00:00     1,234
         offset 17, key "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…": no�[2J
       3 can't be read:
         wal: dead.db: dead letter 3: the letter's checksum does not match
`
	if got != (clitest.Outcome{Code: 0, Stdout: want, Stderr: ""}) {
		t.Errorf("got %+v\nwant\n%s", got, want)
	}
	for line := range strings.Lines(got.Stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("got %d columns: %s", n, line)
		}
	}
	wantAsked(t, asked, "GET /v1/dead?destination=&limit=1000&stream=", "GET /v1/dead?after=1&destination=&limit=1000&stream=")
}

func TestDead_ListAsJSON(t *testing.T) {
	got, asked := runDead(t, "ls --json --stream clicks --destination archive --limit 2",
		admin.DeadList{Letters: []admin.DeadStat{sampleLetter(4), sampleLetter(5)}, Next: 5})
	lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
	var letter admin.DeadStat
	if err := json.Unmarshal([]byte(lines[1]), &letter); err != nil || len(lines) != 2 || letter != sampleLetter(5) || got.Code != 0 {
		t.Errorf("got %+v, %v, want two letters", got, err)
	}
	wantAsked(t, asked, "GET /v1/dead?destination=archive&limit=2&stream=clicks")
	if got, _ := runDead(t, "ls", admin.DeadList{}); got != (clitest.Outcome{Code: 0, Stdout: "", Stderr: "no dead letters\n"}) {
		t.Errorf("got %+v, want that there is none", got)
	}
}

func TestDeadShow(t *testing.T) {
	letter := admin.DeadLetter{
		DeadStat: sampleLetter(7), Time: admin.Time{Time: started.Add(time.Millisecond)},
		Attributes: map[string]string{"b": "2", "a": "1"},
	}
	letter.SetData([]byte("\x00\xffraw"))
	got, asked := runDead(t, "show 7", letter)
	if got.Code != 0 || got.Stdout != "\x00\xffraw" {
		t.Errorf("got %+v, want the bytes as they are", got)
	}
	want := `id          7
stream      clicks
destination archive
offset      17
key         "u1"
time        2026-11-20 12:00:00.001 UTC
attribute   "a" = "1"
attribute   "b" = "2"
bytes       1,234
refused at  2026-11-20 12:00:00 UTC
reason      InvalidArgumentException: the record is not what this stream takes,
            and never will be
`
	if got.Stderr != want {
		t.Errorf("got\n%s\nwant\n%s", got.Stderr, want)
	}
	wantAsked(t, asked, "GET /v1/dead/7")
	got, _ = runDead(t, "show 8", "no such dead letter: id 8")
	if got.Code != 1 || got.Stdout != "" || !strings.HasSuffix(got.Stderr, " answers 404 Not Found: no such dead letter: id 8\n") {
		t.Errorf("got %+v, want exit code 1 and why", got)
	}
}

// A choice that takes too long for one request is continued by the next request, up to the Until of the first
// response.
func TestDead_RequeueContinues(t *testing.T) {
	got, asked := runDead(t, "requeue --all", admin.DeadOutcome{Requeued: 5, Next: 6, Until: 9}, admin.DeadOutcome{Requeued: 2, Until: 9})
	if got != (clitest.Outcome{Code: 0, Stdout: "requeued 7 dead letters\n", Stderr: ""}) {
		t.Errorf("got %+v, want 7", got)
	}
	wantAsked(t, asked, `POST /v1/dead/requeue application/json {"all":true}`,
		`POST /v1/dead/requeue application/json {"all":true,"after":6,"until":9}`)
}

func TestDead_DropByID(t *testing.T) {
	got, asked := runDead(t, "drop 3 4", admin.DeadOutcome{Dropped: 1, Refused: []admin.DeadRefusal{{ID: 4, Reason: "no such dead letter"}}})
	if got != (clitest.Outcome{Code: 1, Stdout: "dropped 1 dead letter\n", Stderr: "4: no such dead letter\n"}) {
		t.Errorf("got %+v, want 1 dropped, 1 refused", got)
	}
	wantAsked(t, asked, `POST /v1/dead/drop application/json {"ids":[3,4]}`)
	ids := strings.Repeat(" 1", admin.MaxDeadIDs+1)
	if got, asked := runDead(t, "drop"+ids, admin.DeadOutcome{Dropped: 1}, admin.DeadOutcome{Dropped: 1}); got.Stdout != "dropped 2 dead letters\n" || len(asked) != 2 {
		t.Errorf("got %+v in %d requests, want two", got, len(asked))
	}
}

func TestDead_RequeueStops(t *testing.T) {
	got, asked := runDead(t, "requeue --stream s", admin.DeadOutcome{Requeued: 1, Next: 4, Stopped: "the log is full"})
	want := clitest.Outcome{Code: 1, Stdout: "requeued 1 dead letter\n", Stderr: "the dead letters after that were not tried: the log is full\n"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	wantAsked(t, asked, `POST /v1/dead/requeue application/json {"stream":"s"}`)
}

func TestDead_CommandLines(t *testing.T) {
	for args, want := range map[string]string{
		"dead":                          "a command is missing",
		"dead sl":                       `unknown command "sl"`,
		"dead show":                     "0 arguments given; the command is: standpipe dead show ID",
		"dead show x":                   `invalid dead letter ID "x": must be a number`,
		"dead requeue":                  "choose dead letters",
		"dead drop 1 --all":             "choose dead letters",
		"dead drop 1 --stream s":        "choose dead letters",
		"dead drop --all --stream s":    "choose dead letters",
		"dead drop -- -1":               `invalid dead letter ID "-1": must be a number`,
		"dead ls --limit -1":            "--limit -1",
		"dead ls --address nowhere":     "want host:port or unix:///path",
		"dead drop 1 --address nowhere": "want host:port or unix:///path",
	} {
		if got := run(strings.Fields(args)...); got.Code != cli.ExitUsage || got.Stdout != "" || !strings.Contains(got.Stderr, want) {
			t.Errorf("standpipe %s: got %+v, want exit code 2 and %q", args, got, want)
		}
	}
	if got := run("dead", "requeue", "--help"); got.Code != 0 || !strings.Contains(got.Stdout, "goes to ALL destinations of its stream") {
		t.Errorf("got %+v, want to be told where events go", got)
	}
}
