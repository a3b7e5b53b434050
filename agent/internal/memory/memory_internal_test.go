package memory

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files below a new folder, which stands for the root of a host.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const host = "MemTotal:       16384000 kB\nMemFree:        1 kB\n"

func TestDetect_TakesTheLeastLimit(t *testing.T) {
	const none = "9223372036854771712\n" // version 1 without a limit
	for name, tt := range map[string]struct {
		files  map[string]string
		want   int64
		source string
	}{
		"no files":     {nil, 0, ""},
		"host alone":   {map[string]string{"proc/meminfo": host}, 16384000 << 10, "MemTotal"},
		"strange":      {map[string]string{"proc/meminfo": "MemTotal: lots\n", "proc/self/cgroup": "x\n0::\n\n::::\n"}, 0, ""},
		"v2, no max":   {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 16384000 << 10, "MemTotal"},
		"v2":           {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "67108864\n"}, 64 << 20, "/a/memory.max"},
		"v2, high":     {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "67108864\n", "sys/fs/cgroup/a/memory.high": "50331648\n"}, 48 << 20, "/a/memory.high"},
		"v2, parent":   {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/a/b/c\n", "sys/fs/cgroup/a/b/c/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "100000000\n"}, 100000000, "/a/memory.max"},
		"v2, own root": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "67108864\n"}, 64 << 20, "cgroup/memory.max"},
		"v2, path of the host": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/../../kubepods/pod1\n", "sys/fs/cgroup/memory.max": "67108864\n"},
			64 << 20, "cgroup/memory.max"},
		"v1": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "67108864\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": none}, 64 << 20, "/a/memory.limit_in_bytes"},
		"v1, none": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "4:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": none}, 16384000 << 10, "MemTotal"},
		"v1, path of the host": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "4:freezer,memory:/docker/0123\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n"}, 128 << 20, "memory.limit_in_bytes"},
		"hybrid": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "4:memory:/a\n0::/b\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "134217728\n",
			"sys/fs/cgroup/unified/b/memory.max": "67108864\n"}, 64 << 20, "unified/b/memory.max"},
		"more than the host": {map[string]string{"proc/meminfo": host, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "34359738368\n"}, 16384000 << 10, "MemTotal"},
	} {
		got := detect(tree(t, tt.files))
		if got.Bytes != tt.want || !strings.Contains(got.Source, tt.source) {
			t.Errorf("%s: got %+v, want %d by %s", name, got, tt.want, tt.source)
		}
	}
}

func TestBound_WithASetting(t *testing.T) {
	for _, tt := range []struct{ bound, setting, want int64 }{
		{0, 0, 0}, {0, 5, 5}, {9, 0, 9}, {9, 5, 5}, {5, 9, 5},
	} {
		if got := (Bound{Bytes: tt.bound}).With(tt.setting); got.Bytes != tt.want {
			t.Errorf("%d with a setting of %d: got %d, want %d", tt.bound, tt.setting, got.Bytes, tt.want)
		}
	}
	if got := (Bound{}).Runtime(); got != math.MaxInt64 {
		t.Errorf("got a limit of %d without a bound", got)
	}
}

// All parts that hold events fit beside each other into the part of the runtime.
func TestShares_FitIntoTheBound(t *testing.T) {
	const mib = 1 << 20
	for _, bound := range []int64{48, 64, 96, 128, 512, 4096} {
		b := Bound{Bytes: bound * mib}
		for _, destinations := range []int{1, 2, 3} {
			shippers := int64(destinations * b.ForShipper(16*mib, destinations))
			if total := 3*shippers + b.ForRequests(64*mib, mib); total > b.Runtime() {
				t.Errorf("%d MiB, %d destinations: %d MiB for events, of %d", bound, destinations, total/mib, b.Runtime()/mib)
			}
		}
	}
	for _, tt := range []struct{ got, want int64 }{
		{int64(Bound{}.ForShipper(16*mib, 1000)), 16 * mib},
		{int64(Bound{Bytes: 64 << 30}.ForShipper(16*mib, 10)), 16 * mib},
		{int64(Bound{Bytes: 64 * mib}.ForShipper(16*mib, 1000)), leastShipper},
		{int64(Bound{Bytes: 64 * mib}.ForShipper(16*mib, 0)), 6710886},
		{Bound{}.ForRequests(64*mib, 16*mib), 64 * mib},
		{Bound{Bytes: 64 * mib}.ForRequests(64*mib, 16*mib), 16 * mib}, // the largest request stays possible
		{Bound{Bytes: 1 << 30}.ForRequests(64*mib, 16*mib), 64 * mib},
	} {
		if tt.got != tt.want {
			t.Errorf("got %d, want %d", tt.got, tt.want)
		}
	}
}

// fakeRuntime records the calls of a Tuner.
type fakeRuntime struct {
	now      usage
	limit    int64
	limits   int // calls
	released int
}

func (f *fakeRuntime) usage() usage         { return f.now }
func (f *fakeRuntime) setLimit(bytes int64) { f.limit, f.limits = bytes, f.limits+1 }
func (f *fakeRuntime) release()             { f.released++; f.now.allocated += 1 << 10 }

func TestTuner_LimitFollowsTheLiveHeap(t *testing.T) {
	const mib = 1 << 20
	f := new(fakeRuntime)
	tuner := &Tuner{process: f, most: 600 * mib}
	tuner.SetGoal(96 * mib)
	for _, tt := range []struct{ live, stacks, want int64 }{
		{10, 1, 96}, {50, 4, 96}, {100, 60, 280}, {101, 60, 280}, {300, 100, 600}, {900, 100, 600}, {10, 1, 96},
	} {
		f.now = usage{live: uint64(tt.live * mib), stacks: uint64(tt.stacks * mib)}
		tuner.look()
		if f.limit != tt.want*mib {
			t.Errorf("%d MiB live, %d of stacks: got a limit of %d MiB, want %d", tt.live, tt.stacks, f.limit/mib, tt.want)
		}
	}
	before := f.limits
	for range 10 {
		tuner.look()
	}
	if f.limits != before {
		t.Errorf("the limit was set %d times without a change", f.limits-before)
	}
}

// An agent that was busy gives its memory back once, when it is idle.
func TestTuner_ReleasesOnceIdle(t *testing.T) {
	f := new(fakeRuntime)
	tuner := &Tuner{process: f, most: math.MaxInt64, busy: true}
	tuner.SetGoal(96 << 20)
	step := func(allocated uint64, looks, want int) {
		t.Helper()
		for range looks {
			f.now.allocated += allocated
			tuner.look()
		}
		if f.released != want {
			t.Errorf("got %d releases, want %d", f.released, want)
		}
	}
	f.now.live = 8 << 20
	step(100<<20, 20, 0)        // busy
	step(quiet, idleLooks-1, 0) // a pause
	step(100<<20, 1, 0)         // busy again
	step(quiet, idleLooks, 1)   // idle
	step(quiet, 100, 1)         // still
	step(2<<20, 100, 1)         // a quarter of the live heap is no load
	step(3<<20, 1, 1)           // busy
	step(0, idleLooks-1, 1)     // not yet
	step(0, 1, 2)               // idle
}

// Without GOMEMLIMIT the runtime has the limit of the Tuner, and with it the one of the variable.
func TestTuner_LeavesALimit(t *testing.T) {
	if _, ok := NewTuner(Bound{}, true).process.(limitedRuntime); !ok {
		t.Error("a runtime with a limit of its own gets another one")
	}
	if _, ok := NewTuner(Bound{}, false).process.(goRuntime); !ok {
		t.Error("a runtime without a limit gets none")
	}
	now := goRuntime{}.usage()
	if now.stacks == 0 || now.allocated == 0 {
		t.Errorf("the runtime reports %+v", now)
	}
}
