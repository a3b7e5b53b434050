package diskwatch

import (
	"context"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/wal"
)

// interval is the time between two looks at the disk.
const interval = 500 * time.Millisecond

// Log is the part of wal.History that concerns the disk.
type Log interface {
	Volume() (wal.Volume, error)
	SetAside() ([]string, error)
	Yield(bytes int64) bool
}

// Watch has the last known state of the disk. A look hangs as the disk does, so one goroutine looks, and neither the
// status nor an append waits for it.
type Watch struct {
	log     Log
	dir     string
	minFree func() config.MinFree
	space   space

	mu       sync.Mutex // guards the fields below
	volume   wal.Volume // zero: unknown
	setAside []string
	before   int64 // bytes that were written to the device before the first look; 0: unknown
	written  int64 // those written since
}

// New returns a Watch of the log in dir that has not looked yet: it rejects nothing. minFree returns the present setting.
func New(log Log, dir string, minFree func() config.MinFree) *Watch {
	return &Watch{log: log, dir: dir, minFree: minFree}
}

// State returns the volume and the names of the files that were set aside.
func (w *Watch) State() (wal.Volume, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.volume, w.setAside
}

// DeviceWritten returns the bytes that all programs have written to the device of the log since the first look; 0: unknown.
func (w *Watch) DeviceWritten() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written
}

// Rejection returns the error for an append, or nil.
func (w *Watch) Rejection() error { return w.space.rejection() }

// Run looks at the disk until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		w.Look()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look updates the state of the disk, and the rejection of appends for min_free. Retained segments go first.
func (w *Watch) Look() {
	volume, volumeErr := w.log.Volume()
	if missing := missing(volume, w.minFree()); volumeErr == nil && missing > 0 && w.log.Yield(missing) {
		volume, volumeErr = w.log.Volume()
	}
	names, namesErr := w.log.SetAside()
	device := deviceWritten(w.dir)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.before == 0 {
		w.before = device
	}
	w.written = max(device-w.before, w.written)
	if volumeErr == nil {
		w.volume = volume
		w.space.update(volume, w.minFree())
	}
	if namesErr == nil { // a directory that cannot be listed fails the log as well
		w.setAside = names
	}
}
