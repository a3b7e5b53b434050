package agent

import (
	"context"
	"sync"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// diskInterval is the time between two looks at the disk.
const diskInterval = 500 * time.Millisecond

// diskWatch has the last known state of the disk. A look hangs as the disk does, so one goroutine looks, and neither the
// status nor an append waits for it.
type diskWatch struct {
	mu       sync.Mutex // guards the fields below
	volume   wal.Volume // zero: unknown
	setAside []string
}

// state returns the volume and the names of the files that were set aside.
func (d *diskWatch) state() (wal.Volume, []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.volume, d.setAside
}

// watchDisk looks at the disk until ctx ends.
func (a *Agent) watchDisk(ctx context.Context) {
	ticker := time.NewTicker(diskInterval)
	defer ticker.Stop()
	for {
		a.lookAtDisk()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAtDisk updates the state of the disk, and the rejection of appends for min_free.
func (a *Agent) lookAtDisk() {
	volume, volumeErr := a.log.Volume()
	names, namesErr := a.log.SetAside()
	a.disk.mu.Lock()
	defer a.disk.mu.Unlock()
	if volumeErr == nil {
		a.disk.volume = volume
		a.streams.space.update(volume, a.conf.Load().WAL.MinFree)
	}
	if namesErr == nil { // a directory that cannot be listed fails the log as well
		a.disk.setAside = names
	}
}
