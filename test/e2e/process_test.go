//go:build unix

package e2e_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a program that a test started; it ends with the test, and its output is shown when the test fails.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *transcript
	done chan struct{} // closed once the process has ended
}

// transcript collects the output of a process.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startProcess starts cmd, whose standard error (and output, unless it is set) is collected.
func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: &transcript{}, done: make(chan struct{})}
	cmd.Stderr = p.out
	if cmd.Stdout == nil {
		cmd.Stdout = p.out
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	p.kill()
	if p.t.Failed() {
		p.t.Logf("%s printed at last:\n%s", p.cmd.Args[0], tail(p.out.String(), 60))
	}
}

// kill ends the process as kill -9 does and waits for its end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %s: %v", s, err)
	}
}

// exit waits for the process's end and returns its exit code. After limit, and not before three minutes, the test fails: a
// busy machine takes many times as long as usual.
func (p *process) exit(limit time.Duration) int {
	p.t.Helper()
	limit = max(limit, 3*time.Minute)
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.signal(syscall.SIGQUIT) // its goroutines belong in the transcript
		p.t.Fatalf("%s has not ended within %s", p.cmd.Args[0], limit)
		return -1
	}
}

// ended reports whether the process has ended already.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// runProgram runs the program under test to its end.
func runProgram(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(standpipe, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("standpipe %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
