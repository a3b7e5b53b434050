//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

func TestExitCodes(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.hcl", "data_dir = \"x\"\nstream \"s\" {\n  destination \"file\" \"local\" { path = \"y\" }\n}\n")
	bad := write("bad.hcl", "data_dir = 7\nnod_name = \"x\"\nstream \"s\" {\n  destination \"fiel\" \"local\" {}\n}\n")
	for _, test := range []struct {
		args string
		want int
	}{
		{"version", 0}, {"--help", 0}, {"nonsense", 2}, {"", 0}, {"--version", 0}, {"agent", 2}, {"agent --nonsense", 2}, {"agent --config", 2},
		{"agent --dev --config " + good, 2}, {"agent --config /does/not/exist.hcl", 2}, {"agent --config " + bad, 2},
		{"validate " + good, 0}, {"validate " + bad, 1}, {"validate", 2}, {"validate /does/not/exist.hcl", 1},
		{"put", 2}, {"put s --nonsense", 2}, {"put s --address 127.0.0.1:1 /does/not/exist", 1},
		{"status --address 127.0.0.1:1", 1}, {"reload --address 127.0.0.1:1", 1}, {"healthcheck --address 127.0.0.1:1", 1}, {"wal", 2}, {"wal nonsense", 2}, {"wal verify", 2}, {"wal verify /does/not/exist", 1},
	} {
		code, out, errs := runProgram(t, "", strings.Fields(test.args)...)
		if code != test.want {
			t.Errorf("standpipe %s: got exit code %d, want %d: %.300s%.300s", test.args, code, test.want, out, errs)
		}
		if code != 0 && errs == "" {
			t.Errorf("standpipe %s: failed without a word on standard error", test.args)
		}
	}
	_, out, errs := runProgram(t, "", "validate", bad)
	for _, line := range []string{":1:", ":2:", ":4:"} {
		if !regexp.MustCompile(regexp.QuoteMeta(bad) + line + `\d+: .+`).MatchString(out + errs) {
			t.Errorf("got %q%q, want a fault of line %s", out, errs, line)
		}
	}
}

func TestVersion(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	_, out, _ := runProgram(t, "", "version")
	if !strings.Contains(out, runtime.Version()) || !strings.Contains(out, "standpipe") {
		t.Errorf("got %q, want it to name standpipe and %s", out, runtime.Version())
	}
}

func TestPut(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination)+streamBlock("lines", "\n  format = \"text\"", fileDestination))
	sample, err := readEvents("../../testdata/sample.ndjson", "sensor")
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := runProgram(t, "", "put", "s", "--key-field", "sensor", "--address", "unix://"+a.path("grpc.sock"), "../../testdata/sample.ndjson")
	if code != 0 || !strings.Contains(out+errs, "200") {
		t.Fatalf("put: got exit code %d: %s%s", code, out, errs)
	}
	if code, out, errs = runProgram(t, "a\nb\nlast", "put", "lines", "--key", "k", "--address", a.grpc); code != 0 || !strings.Contains(out+errs, "3") {
		t.Errorf("put of standard input: got exit code %d: %s%s", code, out, errs)
	}
	code, _, errs = runProgram(t, `{"sensor":"k"}`+"\n"+`{"sensor":"k"}`+"\n{\n{}\n", "put", "s", "--key", "k", "--address", a.grpc)
	if code != 1 || !strings.Contains(errs, "line 3") {
		t.Errorf("put of a bad third line: got exit code %d and %q, want 1 and line 3 named", code, errs)
	}
	code, _, errs = runProgram(t, "x\n", "put", "nowhere", "--key", "k", "--address", a.grpc)
	if code != 1 || !strings.Contains(errs, "nowhere") {
		t.Errorf("put to an unknown stream: got exit code %d and %q, want 1 and its name", code, errs)
	}
	a.stop()
	got := delivered(t, a.path("out/s"), "sensor", true)
	owing(sample).expectWhole(t, "put", got[:min(200, len(got))], 0)
	if text := contents(t, a.path("out/lines")); text != "a\nb\nlast\n" {
		t.Errorf("got lines %q, want a, b and last", text)
	}
}

func TestStatus(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("clicks", fileDestination))
	send(t, a.dial(), "clicks", readings(41, 123))
	a.waitDelivered("clicks", 123, 10*time.Second)
	code, out, errs := runProgram(t, "", "status", "--address", a.admin)
	if code != 0 || !strings.Contains(out, "clicks") || !strings.Contains(out, "local") || !strings.Contains(out, "123") {
		t.Errorf("status: got exit code %d: %s%s", code, out, errs)
	}
	code, out, errs = runProgram(t, "", "status", "--json", "--address", a.admin)
	var s agentStatus
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || s.Streams[0].Appended.Events != 123 {
		t.Errorf("status --json: got exit code %d, %v: %s%s", code, err, out, errs)
	}
	if s.Agent.NodeName != "e2e" || s.Agent.State != "running" || s.Agent.ID == "" || s.Agent.Version == "" || s.Agent.StartedAt.IsZero() {
		t.Errorf("got agent %+v, want all of it", s.Agent)
	}
	for _, name := range []string{
		`standpipe_appended_events_total{stream="clicks"} 123`,
		`standpipe_delivered_events_total{destination="local",stream="clicks"} 123`,
		`standpipe_pending_events{destination="local",stream="clicks"} 0`,
		"standpipe_wal_segments ", "standpipe_commit_seconds_count", `standpipe_append_seconds_count{listener="grpc"}`,
	} {
		if !strings.Contains(a.get("/metrics"), name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

// The wal tools read the log of a running agent, change nothing, and find a byte that is off.
func TestWAL_Tools(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", unreachable(t)))
	send(t, a.dial(), "s", append(readings(42, 300), event{"k", `{"sensor":"needle","n":1}`}))
	for _, running := range []bool{true, false} {
		if !running {
			a.kill()
		}
		before := dataFiles(t, a)
		for command, want := range map[string]string{"ls": "s", "dump": "needle", "verify": ""} {
			code, out, errs := runProgram(t, "", "wal", command, a.path("data"))
			if code != 0 || !strings.Contains(out+errs, want) {
				t.Errorf("wal %s, running %v: got exit code %d: %.300s%.300s", command, running, code, out, errs)
			}
		}
		if after := dataFiles(t, a); !running && !equalFiles(before, after) {
			t.Error("a wal tool changed the log of an agent that is not running")
		}
	}
	damage(t, a, "needle")
	if code, out, errs := runProgram(t, "", "wal", "verify", a.path("data")); code != 1 {
		t.Errorf("wal verify of a damaged log: got exit code %d, want 1: %s%s", code, out, errs)
	}
}

func dataFiles(t *testing.T, a *agent) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.Walk(a.path("data"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func equalFiles(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			return false
		}
	}
	return true
}

// damage turns one bit of every copy of some text in the log's files.
func damage(t *testing.T, a *agent, text string) {
	t.Helper()
	found := 0
	for path, content := range dataFiles(t, a) {
		for at := bytes.Index(content, []byte(text)); at >= 0; at = bytes.Index(content, []byte(text)) {
			content[at] ^= 1
			found++
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Fatalf("no file of the log holds %q", text)
	}
}

// freeDevPorts fails where the fixed ports of --dev are taken.
func freeDevPorts(t *testing.T) {
	t.Helper()
	for _, address := range []string{"127.0.0.1:7710", "127.0.0.1:7711", "127.0.0.1:7712"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("agent --dev needs %s: %v", address, err)
		}
		l.Close()
	}
}

// --dev needs no file and no AWS: any stream goes to files under ./standpipe-dev.
func TestAgent_Dev(t *testing.T) {
	endToEnd(t)
	freeDevPorts(t)
	a := &agent{t: t, dir: t.TempDir(), grpc: "127.0.0.1:7710", admin: "127.0.0.1:7712"}
	cmd := exec.Command(standpipe, "agent", "--dev")
	cmd.Dir = a.dir
	a.process = startProcess(t, cmd)
	testkit.Eventually(t, 10*time.Second, func() error { return a.expectCode("/readyz", 200) })

	sent := readings(43, 100)
	send(t, a.dial(), "anything", sent)
	if code, out, errs := runProgram(t, `{"n":1}`+"\n", "put", "other", "--key", "k"); code != 0 {
		t.Errorf("put: got exit code %d: %s%s", code, out, errs)
	}
	if code, out, _ := runProgram(t, "", "status"); code != 0 || !strings.Contains(out, "anything") || !strings.Contains(out, "other") {
		t.Errorf("status: got exit code %d: %s", code, out)
	}
	a.waitDelivered("anything", 100, 10*time.Second)
	a.signal(syscall.SIGTERM)
	if code := a.exit(20 * time.Second); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	owing(sent).expectWhole(t, "dev", devDelivered(t, a, "anything"), 0)
	if sockets, _ := filepath.Glob(a.path("standpipe-dev/*.sock")); len(sockets) != 0 {
		t.Errorf("got %v left", sockets)
	}
}

// devDelivered finds the files of a stream wherever --dev puts them.
func devDelivered(t *testing.T, a *agent, stream string) []event {
	t.Helper()
	var all []byte
	filepath.Walk(a.path("standpipe-dev"), func(path string, info os.FileInfo, err error) error {
		if err == nil && strings.HasPrefix(info.Name(), stream+"-") {
			b, _ := os.ReadFile(path)
			all = append(all, b...)
		}
		return nil
	})
	events, err := lines(all, "sensor")
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// The configurations of the documentation are valid for the built program, too.
func TestDocs_ConfigurationsAreValid(t *testing.T) {
	endToEnd(t)
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllSubmatch(text, -1) {
			path := filepath.Join(t.TempDir(), "agent.hcl")
			if err := os.WriteFile(path, block[1], 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out, errs := runProgram(t, "", "validate", path); code != 0 {
				t.Errorf("%s: got exit code %d: %s%s", page, code, out, errs)
			}
		}
	}
}

// The README's first command.
func TestDemo(t *testing.T) {
	endToEnd(t)
	freeDevPorts(t)
	script, err := filepath.Abs("../../scripts/demo")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", script, standpipe)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done: 200 events delivered") {
		t.Errorf("got %v, want 200 events delivered:\n%s", err, out)
	}
}
