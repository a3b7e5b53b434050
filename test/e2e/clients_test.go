//go:build unix

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// The programs in testdata/clients are one program in all languages. Each line of its standard input is a key, a tab and the data
// of an event. It publishes them to a stream, and prints the offset or the error of each event at the end.
//
// A clientProgram is one of them, with its client as a user installs it.
type clientProgram struct {
	command []string
	env     []string
}

func clientPrograms(t *testing.T) map[string]clientProgram {
	t.Helper()
	source := func(name string) string { return filepath.Join("testdata", "clients", name) }
	wheel := installWheel(t)
	python := func(name string) clientProgram {
		return clientProgram{[]string{standin(t, "py", "bin", "python"), source(name)}, []string{"PYTHONPATH=" + wheel}}
	}
	return map[string]clientProgram{
		"go":      {command: []string{buildGo(t, source("go"))}},
		"python":  python("sync.py"),
		"asyncio": python("aio.py"),
		"node":    {command: []string{"node", installTarball(t, source("node.mjs"))}},
	}
}

func mustRun(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func buildGo(t *testing.T, folder string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "publish")
	mustRun(t, "", "go", "build", "-o", program, "./"+folder)
	return program
}

// copyClient copies the files of a client to a folder, so that nothing is built in the repository.
func copyClient(t *testing.T, name string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), name)
	mustRun(t, "", "mkdir", folder)
	for _, file := range strings.Fields(mustRun(t, filepath.Join("..", "..", "client", name), "git", "ls-files", "--cached", "--others", "--exclude-standard")) {
		mustRun(t, "", "mkdir", "-p", filepath.Join(folder, filepath.Dir(file)))
		mustRun(t, "", "cp", filepath.Join("..", "..", "client", name, file), filepath.Join(folder, file))
	}
	return folder
}

// installWheel builds the wheel of the Python client, and returns the folder in which it is installed.
func installWheel(t *testing.T) string {
	t.Helper()
	source, to := copyClient(t, "python"), t.TempDir()
	pip := []string{"-m", "pip", "-q", "--disable-pip-version-check", "--no-input"}
	python := standin(t, "py", "bin", "python")
	mustRun(t, source, python, append(pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".")...)
	wheels, err := filepath.Glob(filepath.Join(source, "dist", "*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("got the wheels %q, %v", wheels, err)
	}
	mustRun(t, source, python, append(pip, "install", "--no-deps", "--target", to, wheels[0])...)
	return to
}

// installTarball packs the client for Node.js, and returns the path of a copy of the program beside which it is installed.
func installTarball(t *testing.T, program string) string {
	t.Helper()
	source, to := copyClient(t, "node"), t.TempDir()
	modules := standin(t, "node_modules")
	if err := os.Symlink(modules, filepath.Join(source, "node_modules")); err != nil {
		t.Fatal(err)
	}
	mustRun(t, source, "npm", "pack", "--silent")
	tarballs, err := filepath.Glob(filepath.Join(source, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("got the tarballs %q, %v", tarballs, err)
	}
	mustRun(t, to, "mkdir", "-p", "node_modules/standpipe")
	mustRun(t, to, "tar", "-xzf", tarballs[0], "--strip-components=1", "-C", "node_modules/standpipe")
	if err := os.Symlink(filepath.Join(modules, "@grpc"), filepath.Join(to, "node_modules", "@grpc")); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "", "cp", program, filepath.Join(to, "publish.mjs"))
	return filepath.Join(to, "publish.mjs")
}

// The clients' own tests pass with the packages as a user installs them, and their types hold.
func TestClients_PassTheirOwnTests(t *testing.T) {
	endToEnd(t)
	t.Run("python", func(t *testing.T) {
		python, wheel, source := standin(t, "py", "bin", "python"), installWheel(t), copyClient(t, "python")
		t.Setenv("PYTHONPATH", wheel)
		mustRun(t, source, python, "-m", "unittest", "discover", "tests")
		mustRun(t, source, python, "-m", "mypy", "src", "tests")
	})
	t.Run("node", func(t *testing.T) {
		source := copyClient(t, "node")
		if err := os.Symlink(standin(t, "node_modules"), filepath.Join(source, "node_modules")); err != nil {
			t.Fatal(err)
		}
		proto, err := filepath.Abs(filepath.Join("..", "..", "proto", "standpipe", "v1", "standpipe.proto"))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("STANDPIPE_PROTO", proto)
		mustRun(t, source, "npm", "test", "--silent")
	})
}

// The Python client's copy of the messages is that of the proto file.
func TestClients_HaveTheMessagesOfTheProtoFile(t *testing.T) {
	endToEnd(t)
	python, wheel := standin(t, "py", "bin", "python"), installWheel(t)
	compiled := filepath.Join(t.TempDir(), "descriptors")
	proto, err := filepath.Abs(filepath.Join("..", "..", "proto"))
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, "", python, "-m", "grpc_tools.protoc", "-I", proto, "--descriptor_set_out", compiled, "standpipe/v1/standpipe.proto")
	t.Setenv("PYTHONPATH", wheel)
	mustRun(t, "", python, "-c", `
import sys
from google.protobuf import descriptor_pb2
from standpipe.v1 import standpipe_pb2
want = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read()).file[0]
got = descriptor_pb2.FileDescriptorProto.FromString(standpipe_pb2.DESCRIPTOR.serialized_pb)
for f in (want, got):
    for m in f.message_type:
        for field in m.field:
            field.ClearField("json_name")
        for nested in m.nested_type:
            for field in nested.field:
                field.ClearField("json_name")
assert got == want, f"client/python/README.md has the command that writes it again\n{got}\n{want}"
`, compiled)
}

// A clientScenario happens to a publisher's agent while it publishes.
type clientScenario struct {
	extra, listener string // of agent.hcl
	proxied         bool   // the connection goes through a proxy that stalls and breaks
	happens         func(t *testing.T, a *agent, r *rand.Rand)
}

const tokenAuth = "  auth { token_file = \"${dir}/tokens\" }\n"

var clientScenarios = map[string]clientScenario{
	"killed": {happens: func(t *testing.T, a *agent, r *rand.Rand) {
		for range 6 {
			<-time.After(time.Duration(20+r.IntN(200)) * time.Millisecond)
			a.kill()
			a.start()
		}
	}},
	"restarted": {happens: func(t *testing.T, a *agent, r *rand.Rand) {
		for range 3 {
			<-time.After(time.Duration(20+r.IntN(200)) * time.Millisecond)
			a.stop()
			a.start()
		}
	}},
	"full": {extra: "wal {\n  max_size = \"2MiB\"\n  segment_size = \"256KiB\"\n}\n", happens: func(t *testing.T, a *agent, r *rand.Rand) {
		a.standpipe(t, "destination", "pause", "clicks", "local")
		testkit.Eventually(t, 2*time.Minute, func() error { return a.expectCode("/readyz", 503) })
		a.standpipe(t, "destination", "resume", "clicks", "local")
	}},
	"slow": {proxied: true, happens: func(*testing.T, *agent, *rand.Rand) { <-time.After(2 * time.Second) }},
	"token": {listener: tokenAuth, happens: func(t *testing.T, a *agent, r *rand.Rand) {
		for i := range 3 {
			<-time.After(time.Duration(100+r.IntN(300)) * time.Millisecond)
			old, young := fmt.Sprintf("token-%d-0123456789abcdef\n", i), fmt.Sprintf("token-%d-0123456789abcdef\n", i+1)
			writeToken(t, a, "tokens", old+young)
			<-time.After(1500 * time.Millisecond) // the agent looks each second
			writeToken(t, a, "token", young)
			writeToken(t, a, "tokens", young)
		}
	}},
}

func writeToken(t *testing.T, a *agent, name, text string) {
	t.Helper()
	if err := os.WriteFile(a.path(name+".new"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a.path(name+".new"), a.path(name)); err != nil {
		t.Fatal(err)
	}
}

// A publisher of each language delivers every good event once and in order, at the offset that it returns, through all faults of the
// agent. It rejects the faulty events alone.
func TestClients_LoseNothingAndRepeatNothing(t *testing.T) {
	endToEnd(t)
	seed := draw.Seed(t)
	for name, program := range clientPrograms(t) {
		for what, scenario := range clientScenarios {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				scenario.run(t, program, rand.New(rand.NewPCG(seed, uint64(len(name+what)))))
			})
		}
	}
}

func (s clientScenario) run(t *testing.T, program clientProgram, r *rand.Rand) {
	a := newAgent(t, s.extra, streamBlock("clicks", fileDestination))
	address := testkit.FreeAddress(t)
	a.head += fmt.Sprintf("listener \"grpc\" {\n  address = %q\n%s}\n", address, strings.ReplaceAll(s.listener, "${dir}", a.dir))
	a.configure(streamBlock("clicks", fileDestination))
	args := []string{address, "clicks"}
	if s.listener != "" {
		writeToken(t, a, "tokens", "token-0-0123456789abcdef\n")
		writeToken(t, a, "token", "token-0-0123456789abcdef\n")
		args = append(args, a.path("token"))
	}
	if s.proxied {
		args[0] = startShakyProxy(t, address, r.Uint64())
	}
	a.start()
	cmd := exec.Command(program.command[0], append(program.command[1:], args...)...)
	cmd.Env = append(os.Environ(), program.env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGKILL) })
	var over atomic.Bool
	events, draws := make(chan []event, 1), rand.New(rand.NewPCG(r.Uint64(), 1))
	go func() { events <- feed(in, draws, &over) }()
	s.happens(t, a, r)
	over.Store(true)
	sent := <-events
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the program ended with %v: %s", err, log.String())
	}
	checkOutcomes(t, a, sent, strings.Split(strings.TrimSpace(out.String()), "\n"), log.String())
}

// feed writes events of 8 keys until it is over, at most 4,000 a second. One in 300 is not JSON.
func feed(to io.WriteCloser, r *rand.Rand, over *atomic.Bool) (sent []event) {
	defer to.Close()
	w := &publishing{r: r, counts: make(map[string]int)}
	for !over.Load() {
		e := w.make()
		if _, err := fmt.Fprintf(to, "%s\t%s\n", e.key, e.data); err != nil {
			return sent
		}
		sent = append(sent, e)
		if len(sent)%40 == 0 {
			<-time.After(10 * time.Millisecond)
		}
	}
	return sent
}

// checkOutcomes compares the printed outcomes and the delivered events with the sent ones.
func checkOutcomes(t *testing.T, a *agent, sent []event, outcomes []string, log string) {
	t.Helper()
	if len(outcomes) != len(sent) {
		t.Fatalf("got %d outcomes of %d events: %s", len(outcomes), len(sent), tail(log, 2000))
	}
	var good []event
	unplaced := 0
	for i, e := range sent {
		text, isError := strings.CutPrefix(outcomes[i], "error ")
		if isBad := e.data == badJSON; isError != isBad || isBad && !strings.Contains(text, "INVALID_ARGUMENT") {
			t.Fatalf("event %d of %d: got %q\n%s", i, len(sent), outcomes[i], tail(log, 2000))
		}
		if isError {
			continue
		}
		good = append(good, e)
		switch offset, err := strconv.Atoi(text); {
		case err == nil && offset == 0:
			unplaced++
		case err != nil || offset != len(good):
			t.Fatalf("event %d: got offset %q, want %d", i, text, len(good))
		}
	}
	stored := a.waitDelivered("clicks", len(good), 2*time.Minute)
	a.stop()
	v := owing(good).expectWhole(t, "clicks", delivered(t, a.path("out/clicks"), "sensor", true), 0)
	t.Logf("%d sent, %d stored, %d offsets not known; %v", len(sent), stored.Appended.Events, unplaced, v)
}

// startShakyProxy returns the address of a proxy that stalls and breaks connections.
func startShakyProxy(t *testing.T, target string, seed uint64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for i := uint64(0); ; i++ {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				from.Close()
				continue
			}
			go shake(to, from, rand.New(rand.NewPCG(seed, 2*i)))
			go shake(from, to, rand.New(rand.NewPCG(seed, 2*i+1)))
		}
	}()
	return l.Addr().String()
}

// shake copies in drawn pieces, stalls now and then, and breaks both connections at last.
func shake(to, from net.Conn, r *rand.Rand) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 4096)
	for left := 10_000 + r.IntN(200_000); left > 0; {
		n, err := from.Read(b[:1+r.IntN(len(b))])
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
		left -= n
		if r.IntN(20) == 0 {
			<-time.After(time.Duration(r.IntN(50)) * time.Millisecond)
		}
	}
}
