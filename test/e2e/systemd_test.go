//go:build linux

package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// serviceSocket is the socket of a service manager: each datagram is a state.
type serviceSocket struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func newServiceSocket(t *testing.T) *serviceSocket {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir's names can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &serviceSocket{t: t, path: filepath.Join(dir, "s")}
	if s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// next returns the next state other than a keep-alive for the watchdog, and the number of keep-alives before it.
func (s *serviceSocket) next() (state string, alive int) {
	s.t.Helper()
	buf := make([]byte, 4096)
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			s.t.Fatal(err)
		}
		n, err := s.conn.Read(buf)
		if err != nil {
			s.t.Fatalf("no state after %d keep-alives: %v", alive, err)
		}
		if state = string(buf[:n]); state != "WATCHDOG=1" {
			return state, alive
		}
		alive++
	}
}

func (s *serviceSocket) expect(want string) {
	s.t.Helper()
	if got, _ := s.next(); got != want {
		s.t.Fatalf("got the state %q, want %q", got, want)
	}
}

// A unit of Type=notify or notify-reload with WatchdogSec gets all states of sd_notify(3): ready after the start, reloading with
// the time and ready again, also when the file has faults, keep-alives, and stopping.
func TestSystemd_GetsEveryState(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	manager := newServiceSocket(t)
	a := newAgent(t, "", streamBlock("s", fileDestination))
	a.under = []string{"env", "NOTIFY_SOCKET=" + manager.path, "WATCHDOG_USEC=20000"}
	a.start()
	manager.expect("READY=1")

	reload := func() {
		t.Helper()
		a.signal(syscall.SIGHUP)
		got, _ := manager.next()
		usec, found := strings.CutPrefix(strings.TrimSpace(got), "RELOADING=1\nMONOTONIC_USEC=")
		if n, err := strconv.ParseUint(usec, 10, 64); !found || err != nil || n == 0 {
			t.Fatalf("got the state %q, want RELOADING=1 with MONOTONIC_USEC", got)
		}
		manager.expect("READY=1")
	}
	reload()
	a.configure("stream {")
	reload()

	buf := make([]byte, 4096)
	for range 3 {
		if n, err := manager.conn.Read(buf); err != nil || string(buf[:n]) != "WATCHDOG=1" {
			t.Fatalf("got %q, %v, want a keep-alive", buf[:n], err)
		}
	}
	a.signal(syscall.SIGTERM)
	manager.expect("STOPPING=1")
	if code := a.exit(40 * time.Second); code != 0 {
		t.Errorf("got exit code %d after SIGTERM, want 0", code)
	}
}

// exposure is the highest score of `systemd-analyze security` that the unit may have. 0 is the best, 10 the worst.
const exposure = 2.0

// The unit in deploy/ is valid for systemd and confines the agent.
func TestSystemd_UnitIsValidAndConfined(t *testing.T) {
	endToEnd(t)
	analyze := testkit.Tool(t, "systemd-analyze")
	text, err := os.ReadFile("../../deploy/systemd/standpipe.service")
	if err != nil {
		t.Fatal(err)
	}
	// verify requires that the program exists.
	unit := filepath.Join(t.TempDir(), "standpipe.service")
	local := strings.ReplaceAll(string(text), "/usr/bin/standpipe", standpipe)
	if err := os.WriteFile(unit, []byte(local), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "standpipe.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	found := regexp.MustCompile(`Overall exposure level[^:]*: ([0-9.]+)`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze security prints no exposure level:\n%s", out)
	}
	if got, err := strconv.ParseFloat(string(found[1]), 64); err != nil || got > exposure {
		t.Errorf("got an exposure level of %s, want at most %.1f\n%s", found[1], exposure, out)
	}
}
