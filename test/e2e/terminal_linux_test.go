package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/test/testkit"
)

// terminal is a pseudo-terminal on which a program runs.
type terminal struct {
	*process
	master, slave *os.File
	output        *transcript
}

// runOnTerminal starts a program whose controlling terminal has that size.
func runOnTerminal(t *testing.T, columns, rows uint16, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testkit.Missing(t, "a pseudo-terminal", err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	testkit.Must(t, err)
	testkit.Must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	testkit.Must(t, err)
	testkit.Must(t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	cmd := exec.Command(standpipe, args...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout = slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	term := &terminal{master: master, slave: slave, output: &transcript{}}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			term.output.Write(b[:n])
		}
	}()
	t.Cleanup(func() { slave.Close(); master.Close() })
	term.process = startProcess(t, cmd)
	return term
}

// press writes keys.
func (p *terminal) press(keys string) {
	p.t.Helper()
	_, err := p.master.WriteString(keys)
	testkit.Must(p.t, err)
}

// sequence is a control sequence of a terminal. A cursor that moves stands between two texts.
var sequence = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78])`)

// wait waits until the output since a position has each text, and returns the position after it.
func (p *terminal) wait(from int, texts ...string) int {
	p.t.Helper()
	var all string
	testkit.Eventually(p.t, 30*time.Second, func() error {
		all = p.output.String()
		shown := sequence.ReplaceAllString(all[from:], " ")
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				return fmt.Errorf("got no %q in %q", text, shown[max(0, len(shown)-2000):])
			}
		}
		return nil
	})
	return len(all)
}

// settings returns the modes of the terminal.
func (p *terminal) settings() unix.Termios {
	p.t.Helper()
	s, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	testkit.Must(p.t, err)
	return *s
}

// status --watch and top draw a running agent, go on while it is away, and leave the terminal as it was.
func TestTerminal_WatchAndTop(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("clicks", "", fileDestination))
	send(t, a.dial(), "clicks", []event{{"k", `{"n":1}`}})
	for _, test := range []struct {
		args, end         string
		first, away, back []string
	}{
		{"status --watch --interval 200ms", "\x03", []string{"every 0.2s; Ctrl-C ends", "clicks: 1 appended", "file"}, []string{"away", "no response from the agent"}, []string{"Ctrl-C ends"}},
		{"top", "q", []string{"events are accepted", "clicks", "running", "q quit"}, []string{"no response from the agent", "The figures are"}, []string{"events are accepted"}},
		{"top", "\x03", []string{"q quit"}, nil, nil},
	} {
		term := runOnTerminal(t, 100, 30, append(strings.Fields(test.args), "--address", a.admin)...)
		before := term.settings()
		at := term.wait(0, test.first...)
		if test.away != nil {
			a.stop()
			at = term.wait(at, test.away...)
			a.start()
			term.wait(at, test.back...)
		}
		term.press(test.end)
		if code := term.exit(30 * time.Second); code != 0 {
			t.Errorf("%s: got exit code %d", test.args, code)
		}
		if after := term.settings(); after.Lflag != before.Lflag || after.Iflag != before.Iflag || after.Oflag != before.Oflag {
			t.Errorf("%s: got the terminal's modes %+v, want %+v", test.args, after, before)
		}
		testkit.Eventually(t, 30*time.Second, func() error {
			text := term.output.String()
			if strings.LastIndex(text, "\x1b[?1049h") > strings.LastIndex(text, "\x1b[?1049l") || strings.LastIndex(text, "\x1b[?25l") > strings.LastIndex(text, "\x1b[?25h") {
				return fmt.Errorf("%s: the terminal is left on the other screen or without a cursor: %q", test.args, text[max(0, len(text)-200):])
			}
			return nil
		})
	}
}
