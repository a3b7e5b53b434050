package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A host is the file system of a small Debian, in which programs run by chroot.
type host struct {
	t    *testing.T
	root string
}

// newHost unpacks the Debian that `make standins` has made.
func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "the right to chroot")
	}
	standins := os.Getenv("STANDPIPE_STANDINS")
	if standins == "" {
		standins = ".standins"
	}
	archive := filepath.Join(standins, "debian.tar")
	if _, err := os.Stat(archive); err != nil {
		missing(t, "debian.tar of the stand-ins")
	}
	h := &host{t: t, root: t.TempDir()}
	output(t, "tar", "-xf", archive, "-C", h.root)
	must(t, os.Chmod(h.root, 0o755)) // the archive may have the mode of a temporary folder
	return h
}

func (h *host) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: h.root}
	return cmd
}

// run runs a program of the host.
func (h *host) run(line string) string {
	h.t.Helper()
	out, err := h.command("/bin/sh", "-ec", line).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// put copies a file to /tmp of the host and returns its path there.
func (h *host) put(path string) string {
	h.t.Helper()
	data, err := os.ReadFile(path)
	must(h.t, err)
	name := "/tmp/" + filepath.Base(path)
	must(h.t, os.WriteFile(h.root+name, data, 0o600))
	return name
}

func (h *host) exists(name string) bool {
	_, err := os.Lstat(h.root + name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.t.Fatal(err)
	}
	return err == nil
}

// agent runs the installed agent with the installed configuration while f runs, on sockets alone and with a second destination
// that has no server.
func (h *host) agent(f func()) {
	h.t.Helper()
	config := strings.NewReplacer(
		`address = "127.0.0.1:7710"`, `address = "unix:///run/standpipe/grpc.sock"`,
		`  destination "file"`, "  destination \"relay\" \"away\" { address = \"unix:///run/nobody.sock\" }\n  destination \"file\"",
	).Replace(h.run("cat /etc/standpipe/agent.hcl"))
	config += "shutdown_timeout = \"0s\"\nadmin { address = \"unix:///run/standpipe/admin.sock\" }\n"
	must(h.t, os.WriteFile(h.root+"/tmp/agent.hcl", []byte(config), 0o600))
	cmd := h.command("/usr/bin/standpipe", "agent", "--config", "/tmp/agent.hcl")
	var log strings.Builder
	cmd.Stderr = &log
	must(h.t, cmd.Start())
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			h.t.Errorf("the agent ended with %v:\n%s", err, log.String())
		}
	}()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for {
		if err := h.command("/usr/bin/standpipe", "healthcheck", "--address", "unix:///run/standpipe/admin.sock").Run(); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			h.t.Fatal("the agent does not accept events")
		case <-time.After(20 * time.Millisecond):
		}
	}
	f()
}

const send = `printf '{"n":1}\n{"n":2}\n{"n":3}\n' | standpipe put --address unix:///run/standpipe/grpc.sock clicks`

// stored returns the number of events in the log.
func (h *host) stored() int {
	h.t.Helper()
	return strings.Count(h.run("standpipe wal dump /var/lib/standpipe --stream clicks"), "\n")
}

func (h *host) wantVersion(want string) {
	h.t.Helper()
	if got := h.run("standpipe version"); !strings.HasPrefix(got, "standpipe "+want+" ") {
		h.t.Errorf("got %q, want the version %s", got, want)
	}
}

// A package installs a user, a unit and a valid configuration; an upgrade keeps the log and the operator's configuration; a
// removal keeps both; a purge deletes both.
func TestDeb_InstallUpgradeRemovePurge(t *testing.T) {
	first, second := built(t, oldVersion), built(t, newVersion)
	h := newHost(t)
	h.run("dpkg -i " + h.put(file(first, ".deb")))
	h.wantVersion(oldVersion)
	h.checkInstalled()
	h.checkManual("/usr/share/zsh/vendor-completions/_standpipe")
	h.agent(func() { h.run(send) })

	h.run("echo '# mine' >>/etc/standpipe/agent.hcl")
	h.run("dpkg -i " + h.put(file(second, ".deb")))
	h.wantVersion(newVersion)
	h.checkKept()

	h.run("dpkg --remove standpipe")
	h.checkRemoved()
	h.run("dpkg --purge standpipe")
	for _, name := range []string{"/etc/standpipe", "/var/lib/standpipe"} {
		if h.exists(name) {
			t.Errorf("%s is there after a purge", name)
		}
	}
}

func TestRPM_InstallUpgradeRemove(t *testing.T) {
	tools(t, "rpm")
	first, second := built(t, oldVersion), built(t, newVersion)
	h := newHost(t)
	// The host has no rpm of its own, so its database of packages is empty.
	rpm := func(args ...string) {
		t.Helper()
		output(t, "rpm", append([]string{"--root", h.root, "--dbpath", "/var/lib/rpm", "--nodeps"}, args...)...)
	}
	rpm("-i", file(first, ".rpm"))
	h.wantVersion(oldVersion)
	h.checkInstalled()
	h.checkManual("/usr/share/zsh/site-functions/_standpipe")
	h.agent(func() { h.run(send) })

	h.run("echo '# mine' >>/etc/standpipe/agent.hcl")
	rpm("-U", file(second, ".rpm"))
	h.wantVersion(newVersion)
	h.checkKept()
	rpm("-e", "standpipe")
	h.checkRemoved()
}

func (h *host) checkInstalled() {
	h.t.Helper()
	h.run("standpipe validate /etc/standpipe/agent.hcl")
	h.run("getent passwd standpipe")
	for _, name := range []string{"/usr/lib/systemd/system/standpipe.service", "/usr/lib/sysusers.d/standpipe.conf", "/usr/share/doc/standpipe/agent.hcl.example"} {
		if !h.exists(name) {
			h.t.Errorf("%s is not there", name)
		}
	}
}

// checkManual checks that each command has a manual page, of this version, and that each shell finds a completion.
func (h *host) checkManual(zsh string) {
	h.t.Helper()
	for _, page := range []string{"standpipe", "standpipe-agent", "standpipe-wal-snapshot", "standpipe-destination-forget"} {
		text := h.run("gzip -dc /usr/share/man/man1/" + page + ".1.gz")
		if first, _, _ := strings.Cut(text, "\n"); !strings.Contains(first, `"standpipe `+oldVersion+`"`) {
			h.t.Errorf("the page %s begins with %q, want the version %s", page, first, oldVersion)
		}
	}
	// A bash that loads the file completes the arguments of standpipe.
	if got := h.run(`bash -ec '. /usr/share/bash-completion/completions/standpipe; complete -p standpipe'`); !strings.Contains(got, "__start_standpipe") {
		h.t.Errorf("bash completes by %q", got)
	}
	if got := h.run("head -1 " + zsh); got != "#compdef standpipe\n" {
		h.t.Errorf("%s begins with %q", zsh, got)
	}
	h.run("grep -q 'complete -c standpipe' /usr/share/fish/vendor_completions.d/standpipe.fish")
}

// checkKept checks that the log has the events of the previous version, also after another three.
func (h *host) checkKept() {
	h.t.Helper()
	if got := h.run("tail -1 /etc/standpipe/agent.hcl"); got != "# mine\n" {
		h.t.Errorf("the configuration ends in %q", got)
	}
	if got := h.stored(); got != 3 {
		h.t.Errorf("got %d events after the upgrade, want 3", got)
	}
	h.agent(func() {
		h.run(send)
		status := h.run("standpipe status --json --address unix:///run/standpipe/admin.sock")
		if !regexp.MustCompile(`"next_offset": ?7\b`).MatchString(status) {
			h.t.Errorf("got the status %s, want the offset 7 after 6 events", status)
		}
	})
}

func (h *host) checkRemoved() {
	h.t.Helper()
	if h.exists("/usr/bin/standpipe") || h.exists("/usr/lib/systemd/system/standpipe.service") {
		h.t.Error("the program or the unit is there after a removal")
	}
	segments, err := filepath.Glob(h.root + "/var/lib/standpipe/wal/*.seg")
	must(h.t, err)
	if len(segments) == 0 {
		h.t.Error("the log is gone after a removal")
	}
}
