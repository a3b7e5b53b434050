package memory

import (
	"bufio"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Least is the smallest bound with which an agent starts.
const Least = 48 << 20

// RuntimePart is the part of a bound that the Go runtime may take.
const RuntimePart = 0.6

// Bound is the memory that a process may take.
type Bound struct {
	Bytes  int64  // 0: unknown
	Source string // the setting or the file that has the number
}

// Runtime returns the part of the bound for the Go runtime; without a bound math.MaxInt64.
func (b Bound) Runtime() int64 {
	if b.Bytes == 0 {
		return math.MaxInt64
	}
	return int64(float64(b.Bytes) * RuntimePart)
}

// With returns the bound with a setting, if that is the lower one; 0: not set.
func (b Bound) With(setting int64) Bound {
	return b.lower(setting, "the setting memory")
}

func (b Bound) lower(bytes int64, source string) Bound {
	if bytes > 0 && (b.Bytes == 0 || bytes < b.Bytes) {
		return Bound{bytes, source}
	}
	return b
}

// Detect returns the bound of this process.
func Detect() Bound { return detect("/") }

// detect is Detect with the files below root.
func detect(root string) Bound {
	b := Bound{}.lower(hostBytes(filepath.Join(root, "proc/meminfo")), "MemTotal of /proc/meminfo")
	file, err := os.Open(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return b
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// HIERARCHY:CONTROLLERS:PATH; cgroups(7)
		fields := strings.SplitN(lines.Text(), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch {
		case fields[0] == "0" && fields[1] == "":
			b = b.ofGroup(root, "sys/fs/cgroup", fields[2], "memory.max", "memory.high")
			b = b.ofGroup(root, "sys/fs/cgroup/unified", fields[2], "memory.max", "memory.high")
		case slices.Contains(strings.Split(fields[1], ","), "memory"):
			b = b.ofGroup(root, "sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes")
		}
	}
	return b
}

// ofGroup lowers the bound to the limits of a cgroup and its ancestors below mount. In a container, the path of the group may
// be that of the host, where only the last part of it is mounted: folders that do not exist are skipped.
func (b Bound) ofGroup(root, mount, group string, names ...string) Bound {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		for _, name := range names {
			file := filepath.Join(root, mount, group, name)
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			// "max", and numbers beyond any memory, are no limit
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n < math.MaxInt64/2 {
				b = b.lower(n, file)
			}
		}
		if group == "/" {
			return b
		}
	}
}

// hostBytes returns the memory of the host; 0: unknown.
func hostBytes(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			n, _ := strconv.ParseInt(fields[1], 10, 54)
			return n << 10
		}
	}
	return 0
}
