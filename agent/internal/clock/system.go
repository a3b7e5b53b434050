package clock

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
)

// System has the clocks of a host.
type System struct {
	BootID  string               // of the boot; never equal for two boots
	FromRTC bool                 // the kernel has set the clock from a battery-backed one
	Wall    func() time.Time     // the time of the day, which a time service sets
	Boot    func() time.Duration // the time since the start of the boot, also of a suspended host
	// Synchronized reports whether the kernel knows that a time service keeps the clock.
	Synchronized func() bool
	// Steps sends on steps after each step of the clock, without blocking, until ctx ends. An error: it cannot.
	Steps func(ctx context.Context, steps chan<- struct{}) error
}

// BuildTime returns the time of the commit that the program was built from; zero: unknown.
func BuildTime() time.Time {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			at, _ := time.Parse(time.RFC3339, s.Value)
			return at
		}
	}
	return time.Time{}
}

// lastWrite returns the time of the last write to the log, by the clock of its file system; zero: there is no log.
func lastWrite(dataDir string) (last time.Time) {
	files, _ := os.ReadDir(filepath.Join(dataDir, "wal"))
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".seg" {
			continue
		}
		if info, err := f.Info(); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// process stands for the boot where boots have no IDs.
func process() (id string, since func() time.Duration) {
	started := time.Now()
	return "process " + rand.Text(), func() time.Duration { return time.Since(started) }
}

// poke sends on steps unless a value waits there.
func poke(steps chan<- struct{}) {
	select {
	case steps <- struct{}{}:
	default:
	}
}
