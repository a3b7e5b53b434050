//go:build linux

package wal_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// run runs a system's tool and puts what it printed into the error.
func run(tool string, args ...string) error {
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, out)
	}
	return nil
}

// disk is a file system in a file, or in memory. What a test leaves attached is let go when it ends.
type disk struct {
	t     testing.TB
	image string
	mount string // where it is, or will be, mounted

	// Of one behind a server whose cache forgets:
	folder string // the folder that shows the server's device
	server *exec.Cmd
	bridge *exec.Cmd
}

// newDisk makes the file in the folder: a sparse one.
func newDisk(t testing.TB, folder string, size int64, mkfs ...string) (*disk, error) {
	d := &disk{t: t, image: filepath.Join(folder, "image"), mount: t.TempDir(), folder: t.TempDir()}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	t.Cleanup(d.letGo)
	return d, run(mkfs[0], append(mkfs[1:], "-q", d.image)...)
}

// newMemory mounts a file system in memory with such options.
func newMemory(t testing.TB, options string) (*disk, error) {
	d := &disk{t: t, mount: t.TempDir()}
	if err := unix.Mount("tmpfs", d.mount, "tmpfs", 0, options); err != nil {
		return nil, fmt.Errorf("mount a tmpfs: %w", err)
	}
	t.Cleanup(d.letGo)
	return d, nil
}

// remount changes the options of one in memory.
func (d *disk) remount(options string) error {
	return unix.Mount("tmpfs", d.mount, "tmpfs", unix.MS_REMOUNT, options)
}

// attach mounts the image.
func (d *disk) attach() error { return run("mount", "-o", "loop", d.image, d.mount) }

// detach unmounts it. A process that another test is just starting may have its files open still.
func (d *disk) detach() {
	d.t.Helper()
	err := unix.Unmount(d.mount, 0)
	for range 100 {
		if err != unix.EBUSY {
			break
		}
		time.Sleep(10 * time.Millisecond)
		err = unix.Unmount(d.mount, 0)
	}
	must(d.t, err)
}

// attachBehindCache mounts the image behind an NBD server with a cache (nbdkit's mode writeback or unsafe)
// that is lost with the server.
func (d *disk) attachBehindCache(mode string) error {
	return d.serve("--filter=cache", "file", d.image, "cache="+mode)
}

// attachBehindErrors mounts it behind one whose reads fail for as long as the file trigger is there.
func (d *disk) attachBehindErrors(trigger string) error {
	return d.serve("--filter=error", "file", d.image, "error-pread=EIO", "error-pread-rate=100%", "error-file="+trigger)
}

// serve mounts what nbdkit serves.
func (d *disk) serve(args ...string) error {
	socket := filepath.Join(d.t.TempDir(), "s")
	d.server = exec.Command("nbdkit", append([]string{"-f", "-U", socket}, args...)...)
	if err := d.server.Start(); err != nil {
		return err
	}
	if err := waitFile(socket); err != nil {
		return err
	}
	d.bridge = exec.Command("nbdfuse", d.folder, "--unix", socket)
	if err := d.bridge.Start(); err != nil {
		return err
	}
	device := filepath.Join(d.folder, "nbd")
	if err := waitFile(device); err != nil {
		return err
	}
	return run("mount", "-o", "loop", device, d.mount)
}

func waitFile(path string) error {
	for range 500 {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // another program makes it
	}
	return fmt.Errorf("wait for %s: it does not appear", path)
}

// letGo undoes whatever is attached, in whatever state.
func (d *disk) letGo() {
	_ = unix.Unmount(d.mount, unix.MNT_DETACH) // whether it was mounted still does not matter
	end(d.server)
	if d.bridge != nil {
		_ = run("fusermount3", "-uz", d.folder)
		end(d.bridge)
	}
	d.server, d.bridge = nil, nil
}

func end(c *exec.Cmd) {
	if c != nil && c.Process != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}
