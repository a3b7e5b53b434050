package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a system's tool and returns its output with an error.
func Run(tool string, args ...string) error {
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, out)
	}
	return nil
}

// Disk is a file system in a file, or in memory. It is detached when the test ends.
type Disk struct {
	t     testing.TB
	image string
	Mount string // where it is, or will be, mounted

	// Of one behind a server with a volatile cache:
	folder string // the folder that shows the server's device
	server *exec.Cmd
	bridge *exec.Cmd
}

// NewDisk makes the file in the folder: a sparse one.
func NewDisk(t testing.TB, folder string, size int64, mkfs ...string) (*Disk, error) {
	d := &Disk{t: t, image: filepath.Join(folder, "image"), Mount: t.TempDir(), folder: t.TempDir()}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	t.Cleanup(d.LetGo)
	return d, Run(mkfs[0], append(mkfs[1:], "-q", d.image)...)
}

// NewMemory mounts a file system in memory with such options.
func NewMemory(t testing.TB, options string) (*Disk, error) {
	d := &Disk{t: t, Mount: t.TempDir()}
	if err := unix.Mount("tmpfs", d.Mount, "tmpfs", 0, options); err != nil {
		return nil, fmt.Errorf("mount a tmpfs: %w", err)
	}
	t.Cleanup(d.LetGo)
	return d, nil
}

// Remount changes the options of one in memory.
func (d *Disk) Remount(options string) error {
	return unix.Mount("tmpfs", d.Mount, "tmpfs", unix.MS_REMOUNT, options)
}

// Attach mounts the image, once its last mount is over. A process that another test is just starting may still have a file of that
// mount open: then mount(8) would mount the same device again, and with it the file system that was shut down.
func (d *Disk) Attach() error {
	if err := waitFor("the end of the last mount", d.unused); err != nil {
		return err
	}
	return Run("mount", "-o", "loop", d.image, d.Mount)
}

// unused returns an error if a loop device has the image.
func (d *Disk) unused() error {
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	for _, device := range devices {
		file, err := os.ReadFile(device)
		if err == nil && strings.TrimSpace(string(file)) == d.image { // an error: the device has no file any more
			return fmt.Errorf("%s still has %s", device, d.image)
		}
	}
	return nil
}

// Detach unmounts it. A process that another test is just starting may have its files open still.
func (d *Disk) Detach() {
	d.t.Helper()
	err := unix.Unmount(d.Mount, 0)
	for end := time.Now().Add(patience); err == unix.EBUSY && time.Now().Before(end); err = unix.Unmount(d.Mount, 0) {
		time.Sleep(10 * time.Millisecond)
	}
	Must(d.t, err)
}

// AttachBehindCache mounts the image behind an NBD server with a cache (nbdkit's mode writeback or unsafe)
// that is lost with the server.
func (d *Disk) AttachBehindCache(mode string) error {
	return d.serve("--filter=cache", "file", d.image, "cache="+mode)
}

// AttachBehindErrors mounts it behind one whose reads fail for as long as the file trigger is there.
func (d *Disk) AttachBehindErrors(trigger string) error {
	return d.serve("--filter=error", "file", d.image, "error-pread=EIO", "error-pread-rate=100%", "error-file="+trigger)
}

// serve mounts the device of nbdkit.
func (d *Disk) serve(args ...string) error {
	socket := filepath.Join(d.t.TempDir(), "s")
	d.server = exec.Command("nbdkit", append([]string{"-f", "-U", socket}, args...)...)
	d.server.Stderr = os.Stderr
	if err := d.server.Start(); err != nil {
		return err
	}
	if err := waitFor("nbdkit", func() error { return connect(socket) }); err != nil {
		return err
	}
	d.bridge = exec.Command("nbdfuse", d.folder, "--unix", socket)
	d.bridge.Stderr = os.Stderr
	if err := d.bridge.Start(); err != nil {
		return err
	}
	device := func() error {
		_, err := os.Stat(d.Device())
		return err
	}
	if err := waitFor("nbdfuse", device); err != nil {
		return err
	}
	return Run("mount", "-o", "loop", d.Device(), d.Mount)
}

// connect reports whether a server listens on the socket. The socket's file is there before that.
func connect(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return c.Close()
}

// waitFor waits until something else than this process is ready, such as another program.
func waitFor(what string, ready func() error) error {
	err := ready()
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = ready() {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}

// Written returns the bytes that were written to the block device since it was attached, after it has written out its dirty pages.
func (d *Disk) Written() (int64, error) {
	dir, err := os.Open(d.Mount)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return 0, err
	}
	info, err := dir.Stat()
	if err != nil {
		return 0, err
	}
	device := uint64(info.Sys().(*syscall.Stat_t).Dev) //nolint:unconvert // 32 bits on MIPS
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(device), unix.Minor(device)))
	if err != nil {
		return 0, err
	}
	// Linux, Documentation/block/stat.rst: the seventh value is the written sectors, of 512 bytes each on every device.
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		return 0, fmt.Errorf("the counters of the device are %q", text)
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	return 512 * sectors, err
}

// Device returns the file that a server shows as the disk.
func (d *Disk) Device() string { return filepath.Join(d.folder, "nbd") }

// LetGo undoes all attachments, in any state.
func (d *Disk) LetGo() {
	_ = unix.Unmount(d.Mount, unix.MNT_DETACH) // whether it was mounted still does not matter
	end(d.server)
	if d.bridge != nil {
		_ = Run("fusermount3", "-uz", d.folder)
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

// PowerCut is a way to lose the unsynced writes of a disk.
type PowerCut struct {
	Name, Mkfs string
	Size       int64
	Attach     func(d *Disk) error
	Cut        func(d *Disk) error
}

// PowerCuts are two file systems that are shut down without writing anything out, and a drive that loses its cache.
var PowerCuts = []PowerCut{
	{"ext4", "mkfs.ext4", 200 << 20, (*Disk).Attach, shutDown},
	{"xfs", "mkfs.xfs", 320 << 20, (*Disk).Attach, shutDown},
	{"cache", "mkfs.ext4", 200 << 20, func(d *Disk) error { return d.AttachBehindCache("writeback") }, (*Disk).KillServer},
}

// EXT4_IOC_SHUTDOWN, which is XFS's GOINGDOWN too, with the flag that drops the journal's last transactions (Linux,
// fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h): unsynced writes are lost, as with the power.
const (
	ioctlShutdown  = 0x8004587d
	withoutFlushes = 2
)

// shutDown takes the file system away from under every process that uses it.
func shutDown(d *Disk) error {
	dir, err := os.Open(d.Mount)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.IoctlSetPointerInt(int(dir.Fd()), ioctlShutdown, withoutFlushes)
}

// KillServer loses the cache of a disk behind one.
func (d *Disk) KillServer() error { return d.server.Process.Kill() }
