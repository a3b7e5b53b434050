package segfile

import (
	"fmt"
	"math"
	"runtime"
	"strconv"

	"github.com/standpipe/standpipe/wal/internal/disk"
)

// bbolt maps a file at the next power of two up to 1 GiB, and at the next GiB beyond that. When the file outgrows its
// map, bbolt waits for readers, unmaps the file and maps it again. If there is no address space for that, bbolt is of
// no use afterwards. So the newest segment and the one that is made ready are mapped larger than they usually become. A
// commit that needs a larger map first checks that there is address space for it, and is rejected if there is none.
//
// A 32-bit process has about 2 GiB of address space. There these two segments take 128 MiB each, the sealed ones take
// mostMappedBytes, and a copy takes as much as it needs, up to 128 MiB.
const (
	// newestAhead32 and newestAhead64 are how far the newest segment may grow beyond SegmentSize before it is mapped
	// again. It grows by the state that it begins with, large commits, its index, and further commits while the next
	// segment cannot be made. 32 MiB are twice the bytes of all waiting appends.
	newestAhead32 = 32 << 20
	newestAhead64 = 512 << 20
	// SealAhead is the part of NewestAhead that is kept for sealing the segment.
	SealAhead = 32 << 20

	// mostMappedBytes32 and mostMappedBytes64 bound the bytes of the sealed segments that stay mapped. At least one
	// stays mapped.
	mostMappedBytes32 = 192 << 20
	mostMappedBytes64 = 16 << 30

	// maxSegmentSize32 is the largest segment on a 32-bit platform.
	maxSegmentSize32 = 64 << 20
)

const is32Bit = strconv.IntSize == 32

// LimitSize returns the segment size that a log uses when segmentSize is configured: at most 64 MiB on a 32-bit
// platform.
func LimitSize(segmentSize int64) int64 {
	if is32Bit {
		return min(segmentSize, maxSegmentSize32)
	}
	return segmentSize
}

func mostMappedBytes() int64 {
	if is32Bit {
		return mostMappedBytes32
	}
	return mostMappedBytes64
}

// NewestAhead returns the number of bytes that the newest segment may have beyond SegmentSize.
func NewestAhead() int64 {
	if is32Bit {
		return newestAhead32
	}
	return newestAhead64
}

// mapNewest returns the size at which to map the newest segment, whose file has length bytes, and the length up to
// which the file may then grow without a check by EnsureMapped.
func mapNewest(segmentSize, length int64) (size int, most int64) {
	if runtime.GOOS == "windows" { // where a file is as long as its map, and is mapped again as it grows
		return int(segmentSize) + newestAhead32, math.MaxInt64
	}
	size = disk.MapAhead(max(segmentSize, length), NewestAhead())
	return size, int64(size)
}

// EnsureMapped checks that the file may grow to size bytes. If bbolt will map it again for that, EnsureMapped first maps
// it for a moment at the size that bbolt will choose: bbolt cannot continue after a failed map.
func (f *File) EnsureMapped(size int64) error {
	if size <= f.mapped {
		return nil
	}
	return f.files.Retry(func() error { return f.tryMap(size) })
}

func (f *File) tryMap(size int64) error {
	most := disk.MapAhead(size, 0)
	b, err := disk.Map(f.file, int64(most))
	if err == nil {
		err = disk.Unmap(b)
	}
	if err != nil {
		return fmt.Errorf("map %d bytes of %s: %w", most, f.Path, err)
	}
	f.mapped, f.remaps = int64(most), true
	return nil
}
