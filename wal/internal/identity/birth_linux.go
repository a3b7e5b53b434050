package identity

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// numbersMove lists the file systems that assign inode numbers anew at each mount.
var numbersMove = []int64{unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC}

// birthOf returns the inode at path and its time of birth, as far as the file system has them; "": unknown. A copy has
// another result, and so has a new file with the same inode number.
func birthOf(path string) string {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil || slices.Contains(numbersMove, int64(uint32(fs.Type))) {
		return ""
	}
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d %d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec)
}

// machine returns properties that distinguish this machine from others, as far as every user may read them. No property
// exists in every container, and machines made from one image may share the id.
func machine() map[string]string {
	return map[string]string{
		"machine id":    firstLine("/etc/machine-id"),
		"serial number": firstLine("/proc/device-tree/serial-number"),
		"network card":  strings.Join(cards("/sys/class/net"), " "),
	}
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.Trim(string(b), "\x00\n "), "\n")
	return strings.Join(strings.Fields(line), "-")
}

// cards returns the permanent addresses of the network cards. The cards of a container have none.
func cards(dir string) (addresses []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(path, "device")); err != nil || firstLine(filepath.Join(path, "addr_assign_type")) != "0" {
			continue
		}
		if address := firstLine(filepath.Join(path, "address")); strings.Trim(address, "0:") != "" {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// eventsAttribute is the folder's extended attribute that holds the number of events.
const eventsAttribute = "user.standpipe.events"

// noteEvents records the number of events in a place to which a copy of the files does not bring its own number.
// Without extended attributes nothing is recorded.
func noteEvents(dir string, events uint64) {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || fs.Type == unix.TMPFS_MAGIC { // there it takes an inode's room
		return
	}
	_ = unix.Setxattr(dir, eventsAttribute, strconv.AppendUint(nil, events, 10), 0)
}

// notedEvents returns the recorded number; 0: there is none.
func notedEvents(dir string) uint64 {
	var b [20]byte
	n, err := unix.Getxattr(dir, eventsAttribute, b[:])
	if err != nil {
		return 0
	}
	events, err := strconv.ParseUint(string(b[:n]), 10, 64)
	if err != nil {
		return 0
	}
	return events
}
