//go:build unix

package e2e_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// An example is a program of client/examples and how it is run.
type example struct {
	name string // also of its stream
	run  func(a *agent, args ...string) *exec.Cmd
}

func examples(t *testing.T) []example {
	t.Helper()
	python, modules := standin(t, "py", "bin", "python"), standin(t, "node_modules")
	return []example{
		{"python-grpc", func(a *agent, args ...string) *exec.Cmd {
			return exec.Command(python, append([]string{exampleFile(t, "send_grpc.py"), "unix://" + a.path("grpc.sock")}, args...)...)
		}},
		{"node-grpc", func(a *agent, args ...string) *exec.Cmd {
			cmd := exec.Command("node", append([]string{exampleFile(t, "send_grpc.js"), a.grpc}, args...)...)
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
			return cmd
		}},
		{"python-socket", func(a *agent, args ...string) *exec.Cmd {
			return exec.Command("python3", append([]string{exampleFile(t, "send_socket.py"), a.path("events.sock")}, args...)...)
		}},
		{"shell-socat", func(a *agent, args ...string) *exec.Cmd { return shellExample(t, a, "socat", args) }},
		{"shell-nc", func(a *agent, args ...string) *exec.Cmd { return shellExample(t, a, "nc", args) }},
	}
}

func exampleFile(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "client", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shellExample runs the example for the shell where it finds one of the programs that it may use.
func shellExample(t *testing.T, a *agent, program string, args []string) *exec.Cmd {
	t.Helper()
	folder := t.TempDir()
	for _, tool := range []string{program, "sh", "awk", "sed", "grep", "mktemp", "rm"} {
		if err := os.Symlink(testkit.Tool(t, tool), filepath.Join(folder, tool)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(folder, "sh"), append([]string{exampleFile(t, "send_socket.sh"), a.path("events.sock")}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+folder)
	return cmd
}

// Every example sends events of its own and those of a file, which arrive; and ends with exit code 1
// and the agent's word when an event is refused.
func TestExamples_InOtherLanguages(t *testing.T) {
	endToEnd(t)
	all := examples(t)
	var streams strings.Builder
	for _, e := range all {
		streams.WriteString(streamBlock(e.name, fileDestination))
	}
	a := startAgent(t, "", streams.String())
	sample, err := filepath.Abs(filepath.Join("..", "..", "testdata", "sample.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	sent, err := readEvents(sample, "sensor")
	if err != nil {
		t.Fatal(err)
	}
	refused := a.path("refused.ndjson")
	if err := os.WriteFile(refused, []byte("{\"sensor\":\"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			runExample(t, e.run(a, e.name, sample), 0, "stored")
			runExample(t, e.run(a, e.name, refused), 1, "partition_key has 0 characters")
			runExample(t, e.run(a, e.name), 0, "stored")
			a.waitDelivered(e.name, len(sent)+300, time.Minute)
		})
	}
	a.stop()
	for _, e := range all {
		arrived := delivered(t, a.path("out/"+e.name), "sensor", true)
		owing(sent).expectWhole(t, e.name, arrived[:len(sent)], 0)
	}
}

// runExample runs an example and requires an exit code, and a word in its output.
func runExample(t *testing.T, cmd *exec.Cmd, code int, word string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(out.String(), word) {
		t.Errorf("%s: got exit code %d, want %d and %q in:\n%s", cmd, got, code, word, out.String())
	}
}
