package diskwatch

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel counts written sectors in the seventh field of a device's stat: Documentation/block/stat.rst.
const (
	writtenField = 6
	sector       = 512
)

// deviceWritten returns the bytes that all programs have written to the block device of a folder since the start of the host; 0:
// unknown, as on network file systems and on file systems of several devices.
func deviceWritten(dir string) int64 {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return 0
	}
	dev := uint64(st.Dev) //nolint:unconvert // 32 bits on MIPS
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) <= writtenField {
		return 0
	}
	sectors, err := strconv.ParseInt(fields[writtenField], 10, 64)
	if err != nil {
		return 0
	}
	return sectors * sector
}
