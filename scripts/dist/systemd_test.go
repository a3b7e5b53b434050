package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A machine is a host that systemd has booted, in a container without a network but its own loopback.
type machine struct {
	*host
	leader string // the process ID of its systemd
}

// notTested records a test that this machine cannot run, and ends it.
func notTested(t *testing.T, why string) {
	t.Helper()
	record(t, why)
	t.Skip("NOT TESTED: " + why)
}

// boot starts systemd as process 1 of the host. A machine that allows no such container cannot run the test.
func boot(t *testing.T, h *host) *machine {
	t.Helper()
	tools(t, "systemd-nspawn", "nsenter")
	if !h.exists("/usr/lib/systemd/systemd") && !h.exists("/lib/systemd/systemd") {
		missing(t, "systemd in debian.tar")
	}
	var log bytes.Buffer
	cmd := exec.Command("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--link-journal=no",
		"--console=pipe", "--directory="+h.root, "--machine=standpipe-test-"+strconv.Itoa(os.Getpid()))
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // shuts the container down
		select {
		case <-ended:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-ended
		}
		removeGroups()
	})
	m := &machine{host: h}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		select {
		case <-ended:
			notTested(t, "systemd-nspawn ends: "+lastLine(log.String()))
		default:
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if fields := strings.Fields(string(children)); err == nil && len(fields) > 0 {
			m.leader = fields[len(fields)-1]
			out, _ := m.try("systemctl is-system-running")
			if state := strings.TrimSpace(out); state == "running" || state == "degraded" {
				return m
			}
		}
		if time.Now().After(deadline) {
			notTested(t, "systemd does not boot in a container: "+lastLine(log.String()))
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// removeGroups removes the empty control groups that systemd-nspawn leaves behind.
func removeGroups() {
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		for _, name := range []string{"payload", "supervisor"} {
			var folders []string
			filepath.WalkDir(filepath.Join(hierarchy, name), func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			slices.Reverse(folders)
			for _, folder := range folders {
				syscall.Rmdir(folder) // fails for a group with processes
			}
		}
	}
}

// try runs a line in a shell of the machine.
func (m *machine) try(line string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", m.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "/bin/sh", "-ec", line)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a line that must succeed.
func (m *machine) run(line string) string {
	m.t.Helper()
	out, err := m.try(line)
	if err != nil {
		journal, _ := m.try("journalctl --no-pager -n 40")
		m.t.Fatalf("%s: %v\n%s\n%s", line, err, out, journal)
	}
	return out
}

// property returns a property of the service, as systemctl shows it.
func (m *machine) property(name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl show --value -p " + name + " standpipe"))
}

// pid returns the ID of the agent's process.
func (m *machine) pid() string {
	m.t.Helper()
	pid := m.property("MainPID")
	if pid == "0" {
		m.t.Fatalf("the service has no process\n%s", m.run("journalctl --no-pager -n 40"))
	}
	return pid
}

// signal sends a signal to the agent's process, and waits until another process has reported that it serves.
func (m *machine) signal(name string) {
	m.t.Helper()
	before := m.pid()
	m.run("kill -" + name + " " + before)
	m.until(`pid=$(systemctl show --value -p MainPID standpipe); [ $pid != 0 ] && [ $pid != ` + before + ` ] && systemctl is-active standpipe`)
}

func (m *machine) expect(name, want string) {
	m.t.Helper()
	if got := m.property(name); got != want {
		m.t.Fatalf("got %s=%s, want %s\n%s", name, got, want, m.run("journalctl --no-pager -n 40"))
	}
}

// appended returns the number of events that the stream clicks has got.
func (m *machine) appended() string {
	m.t.Helper()
	found := regexp.MustCompile(`(?s)"name": ?"clicks".*?"next_offset": ?(\d+)`).FindStringSubmatch(m.run("standpipe status --json"))
	if found == nil {
		return "0"
	}
	n, err := strconv.Atoi(found[1])
	must(m.t, err)
	return strconv.Itoa(n - 1)
}

const sendTCP = `printf '{"n":1}\n{"n":2}\n{"n":3}\n' | standpipe put --address 127.0.0.1:7710 clicks`

// The installed unit does under systemd as documented. It starts as a user of its own and confined, reloads with a result, and
// drains when it stops. It starts again after a crash and after a hang, but not with a faulty configuration. After an upgrade of
// the package it goes on with its log.
func TestUnit_UnderSystemd(t *testing.T) {
	first, second := built(t, oldVersion), built(t, newVersion)
	h := newHost(t)
	m := boot(t, h)
	// /tmp of the machine is not that of the host.
	install := func(folder string) {
		t.Helper()
		data, err := os.ReadFile(file(folder, ".deb"))
		must(t, err)
		must(t, os.WriteFile(h.root+"/root/standpipe.deb", data, 0o600))
		m.run("dpkg -i /root/standpipe.deb")
	}
	install(first)
	m.expect("ActiveState", "inactive")
	m.run("systemctl enable --now standpipe")
	m.expect("ActiveState", "active")
	m.run(sendTCP)

	m.checkConfined()
	m.checkReload()
	m.checkRestarts()

	// An upgrade restarts the agent with its log.
	install(second)
	m.expect("ActiveState", "active")
	if got := m.run("standpipe status --json"); !strings.Contains(got, newVersion) {
		t.Errorf("got the status %s after the upgrade, want the version %s", got, newVersion)
	}
	if got := m.appended(); got != "9" {
		t.Errorf("got %s events after the upgrade, want 9", got)
	}

	// A stop finishes the open files.
	m.run(sendTCP)
	m.run("systemctl stop standpipe")
	m.expect("ActiveState", "inactive")
	m.expect("Result", "success")
	if got := strings.Count(m.run(`find /var/lib/standpipe/out/clicks -name '*.jsonl' -exec cat {} +`), "\n"); got != 12 {
		t.Errorf("got %d events in files after a stop, want 12", got)
	}
	if got := m.run(`find /var/lib/standpipe/out/clicks -name '*.tmp'`); got != "" {
		t.Errorf("unfinished files are there after a stop: %s", got)
	}

	// A faulty configuration is no reason to start again.
	m.run("echo 'stream {' >>/etc/standpipe/agent.hcl")
	if out, err := m.try("systemctl start standpipe"); err == nil {
		t.Errorf("a faulty configuration starts: %s", out)
	}
	m.expect("ExecMainStatus", "2")
	m.expect("ActiveState", "failed")

	m.run("dpkg --remove standpipe")
	if m.exists("/etc/systemd/system/multi-user.target.wants/standpipe.service") {
		t.Error("the unit is enabled after a removal")
	}
}

// checkConfined checks the user and the limits of the running service.
func (m *machine) checkConfined() {
	m.t.Helper()
	status := m.run("cat /proc/" + m.pid() + "/status")
	user := strings.TrimSpace(m.run("id -u standpipe"))
	for _, want := range []string{"Uid:\t" + user + "\t" + user, "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			m.t.Errorf("the process lacks %q:\n%s", want, status)
		}
	}
	m.run("test -S /run/standpipe/events.sock")
	if got := m.run("systemd-analyze security --no-pager standpipe"); !regexp.MustCompile(`Overall exposure level for standpipe.service: [01]\.`).MatchString(got) {
		m.t.Errorf("got %s, want an exposure level below 2", lastLine(got))
	}
}

// checkReload checks that systemctl reload applies the file, and fails for one with faults, which changes nothing.
func (m *machine) checkReload() {
	m.t.Helper()
	pid := m.pid()
	m.run("cp /etc/standpipe/agent.hcl /root/agent.hcl")
	m.run(`printf 'stream "added" {\n  destination "stdout" "console" {}\n}\n' >>/etc/standpipe/agent.hcl`)
	m.run("systemctl reload standpipe")
	// systemctl returns when the signal is sent.
	m.until(`echo '{"n":1}' | standpipe put --address 127.0.0.1:7710 added && standpipe status --json | grep -q '"console"'`)

	m.run("echo 'stream {' >>/etc/standpipe/agent.hcl")
	if out, err := m.try("systemctl reload standpipe"); err == nil {
		m.t.Errorf("a reload with a faulty file succeeds: %s", out)
	}
	m.inJournal("/etc/standpipe/agent.hcl:")
	m.expect("ActiveState", "active")
	m.expect("MainPID", pid)
	m.run("cp /root/agent.hcl /etc/standpipe/agent.hcl")
}

// checkRestarts kills the agent, and then stops its process so that it reports nothing: systemd starts it again.
func (m *machine) checkRestarts() {
	m.t.Helper()
	m.signal("KILL")
	m.run(sendTCP)

	m.run("mkdir -p /run/systemd/system/standpipe.service.d && printf '[Service]\nWatchdogSec=20s\n' >/run/systemd/system/standpipe.service.d/watchdog.conf")
	m.run("systemctl daemon-reload && systemctl restart standpipe")
	m.signal("STOP")
	m.inJournal("Watchdog timeout")
	m.run("rm -r /run/systemd/system/standpipe.service.d && systemctl daemon-reload")
	m.run(sendTCP)
}

// inJournal waits until the journal of the service has a text: journald reads beside the service and systemctl.
func (m *machine) inJournal(text string) {
	m.t.Helper()
	m.until("journalctl --no-pager -u standpipe | grep -F '" + text + "'")
}

// until repeats a line until it succeeds.
func (m *machine) until(line string) {
	m.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := m.try(line)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}
