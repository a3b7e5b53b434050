package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bundleOf unpacks the image as a runtime does, and returns the folder with rootfs and config.json.
func bundleOf(t *testing.T, folder string) string {
	t.Helper()
	tools(t, "skopeo", "umoci")
	dir := t.TempDir()
	archive := filepath.Join(folder, "standpipe_"+filepath.Base(folder)+"_image.tar")
	output(t, "skopeo", "--insecure-policy", "copy", "oci-archive:"+archive+":"+filepath.Base(folder), "oci:"+dir+"/image:test")
	output(t, "umoci", "unpack", "--image", dir+"/image:test", dir+"/bundle")
	return dir + "/bundle"
}

func TestImage_IsSmallAndForItsPlatforms(t *testing.T) {
	tools(t, "skopeo")
	folder := built(t, newVersion)
	archive := filepath.Join(folder, "standpipe_"+newVersion+"_image.tar")
	info, err := os.Stat(archive)
	must(t, err)
	// Of one platform. The program is nearly all of it.
	if limit := int64(20 << 20); info.Size() > limit {
		t.Errorf("got an image of %d bytes, want at most %d", info.Size(), limit)
	}
	var index struct {
		MediaType string
		Manifests []struct {
			Platform struct{ OS, Architecture string }
		}
	}
	must(t, json.Unmarshal([]byte(output(t, "skopeo", "inspect", "--raw", "oci-archive:"+archive+":"+newVersion)), &index))
	if len(index.Manifests) != 1 || index.Manifests[0].Platform.Architecture != runtime.GOARCH || index.Manifests[0].Platform.OS != "linux" {
		t.Errorf("got the index %+v", index)
	}
}

// The container file and the image have the same settings.
func TestImage_IsThatOfTheContainerfile(t *testing.T) {
	text, err := os.ReadFile("deploy/container/Containerfile")
	must(t, err)
	bundle := bundleOf(t, built(t, newVersion))
	var config struct {
		Process struct {
			Args []string
			Cwd  string
			User struct{ UID, GID int }
		}
	}
	data, err := os.ReadFile(bundle + "/config.json")
	must(t, err)
	must(t, json.Unmarshal(data, &config))
	p := config.Process
	if p.User.UID != imageUser || p.User.GID != imageUser || !strings.Contains(string(text), "\nUSER 65532:65532\n") {
		t.Errorf("got the user %+v, want that of the container file", p.User)
	}
	var args []string
	for _, instruction := range []string{"ENTRYPOINT ", "CMD "} {
		_, rest, _ := strings.Cut(string(text), "\n"+instruction)
		line, _, _ := strings.Cut(rest, "\n")
		var part []string
		must(t, json.Unmarshal([]byte(line), &part))
		args = append(args, part...)
	}
	if !slices.Equal(p.Args, args) {
		t.Errorf("got the command %q, want %q as in the container file", p.Args, args)
	}
	if !strings.Contains(string(text), "\nWORKDIR "+p.Cwd+"\n") {
		t.Errorf("got the folder %s, want that of the container file", p.Cwd)
	}
}

const containerConfig = `
data_dir = "/var/lib/standpipe"
shutdown_timeout = "50s"
listener "socket" { address = "unix:///run/standpipe/events.sock" }
admin { address = "unix:///run/standpipe/admin.sock" }
stream "clicks" {
  destination "file" "local" { path = "/var/lib/standpipe/out" }
}
`

// The image runs under runc with a read-only root and its own user. It accepts an event, and delivers it when it gets SIGTERM.
func TestImage_RunsReadOnlyAndDrains(t *testing.T) {
	tools(t, "runc")
	bundle := bundleOf(t, built(t, newVersion))
	data, run := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "run")
	for _, dir := range []string{data, run} {
		must(t, errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, imageUser, imageUser)))
	}
	config := filepath.Join(t.TempDir(), "agent.hcl")
	must(t, os.WriteFile(config, []byte(containerConfig), 0o644))
	must(t, os.Chmod(filepath.Dir(config), 0o755))
	must(t, confine(bundle, map[string]string{"/var/lib/standpipe": data, "/run/standpipe": run, "/etc/standpipe/agent.hcl": config}))

	state := t.TempDir()
	name := "standpipe-test-" + strconv.Itoa(os.Getpid()) // also of its control group
	runc := func(args ...string) *exec.Cmd {
		return exec.Command("runc", append([]string{"--root", state}, args...)...)
	}
	if out, err := runc("spec", "--help").CombinedOutput(); err != nil {
		t.Fatalf("runc: %v\n%s", err, out)
	}
	container := runc("run", "--bundle", bundle, name)
	var log strings.Builder
	container.Stdout, container.Stderr = &log, &log
	must(t, container.Start())
	ended := make(chan error, 1)
	go func() { ended <- container.Wait() }()
	t.Cleanup(func() { runc("delete", "--force", name).Run() })

	reply := make([]byte, 100)
	for limit := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("unix", run+"/events.sock")
		if err == nil {
			_, err = c.Write([]byte(`{"stream":"clicks","key":"k","data":{"n":1}}` + "\n"))
			must(t, err)
			n, err := c.Read(reply)
			must(t, err)
			reply = reply[:n]
			c.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the container ended: %v\n%s", err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatalf("no listener: %v\n%s", err, log.String())
		}
	}
	if got, want := string(reply), "{\"offset\":1}\n"; got != want {
		t.Errorf("got the response %q, want %q", got, want)
	}
	if out, err := runc("exec", name, "/usr/bin/standpipe", "healthcheck", "--address", "unix:///run/standpipe/admin.sock").CombinedOutput(); err != nil {
		t.Errorf("healthcheck: %v\n%s", err, out)
	}
	if out, err := runc("exec", name, "/usr/bin/standpipe", "wal", "snapshot", "/var/lib/standpipe", "/usr/copy").CombinedOutput(); err == nil || !strings.Contains(string(out), "read-only") {
		t.Errorf("a write to the root: got %v, %s, want an error that it is read-only", err, out)
	}
	if out, err := runc("kill", name, "TERM").CombinedOutput(); err != nil {
		t.Fatalf("runc kill: %v\n%s", err, out)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the container ended with %v\n%s", err, log.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("the container did not end\n%s", log.String())
	}
	files, err := filepath.Glob(data + "/out/*/*/*/*/clicks-*.jsonl")
	must(t, err)
	if len(files) != 1 {
		t.Errorf("got %d delivered files, want 1\n%s", len(files), log.String())
	}
}

// confine makes the root read-only, binds host paths, and takes all capabilities and the network away.
func confine(bundle string, binds map[string]string) error {
	path := bundle + "/config.json"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	config["root"].(map[string]any)["readonly"] = true
	process := config["process"].(map[string]any)
	process["terminal"], process["noNewPrivileges"] = false, true
	process["capabilities"] = map[string]any{}
	mounts := slices.DeleteFunc(config["mounts"].([]any), func(m any) bool {
		to := m.(map[string]any)["destination"].(string)
		return to == "/sys" || to == "/sys/fs/cgroup" || binds[to] != "" || strings.HasPrefix(to, "/etc/")
	})
	for to, from := range binds {
		mounts = append(mounts, map[string]any{"destination": to, "source": from, "type": "bind", "options": []string{"bind"}})
	}
	config["mounts"] = mounts
	linux := config["linux"].(map[string]any)
	delete(linux, "resources")
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
