package diskwatch_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/diskwatch"
	"github.com/standpipe/standpipe/wal"
)

// disk is the log's disk. A look waits for hang if that is set.
type disk struct {
	volume   wal.Volume
	setAside []string
	err      error
	hang     chan struct{}
	retained int64 // bytes of retained segments
}

func (d *disk) Volume() (wal.Volume, error) {
	if d.hang != nil {
		<-d.hang
	}
	return d.volume, d.err
}

// Yield makes the retained bytes free.
func (d *disk) Yield(bytes int64) bool {
	yields := min(bytes, d.retained)
	d.volume.Free, d.retained = d.volume.Free+yields, d.retained-yields
	return yields > 0
}

func (d *disk) SetAside() ([]string, error) { return d.setAside, d.err }

func TestWatch_FailedLookChangesNothing(t *testing.T) {
	d := &disk{volume: wal.Volume{Free: 9, Size: 100}, setAside: []string{"dead.db.corrupt"}}
	w := diskwatch.New(d, "", func() config.MinFree { return config.MinFree{Bytes: 10} })
	if volume, names := w.State(); volume != (wal.Volume{}) || names != nil || w.Rejection() != nil {
		t.Errorf("before the first look: got %+v, %v, %v", volume, names, w.Rejection())
	}
	w.Look()
	d.volume, d.setAside, d.err = wal.Volume{Free: 100, Size: 100}, nil, errors.New("input/output error")
	w.Look()
	volume, names := w.State()
	if volume.Free != 9 || !slices.Equal(names, []string{"dead.db.corrupt"}) || !errors.Is(w.Rejection(), wal.ErrFull) {
		t.Errorf("after a failed look: got %+v, %v, %v", volume, names, w.Rejection())
	}
	d.err = nil
	w.Look()
	if volume, names := w.State(); volume.Free != 100 || names != nil || w.Rejection() != nil {
		t.Errorf("after a look: got %+v, %v, %v", volume, names, w.Rejection())
	}
}

// While the disk hangs, the last state is returned at once. Afterwards it is the new one, by the present setting.
func TestWatch_DiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{volume: wal.Volume{Free: 50, Size: 100}}
		var least config.MinFree
		w := diskwatch.New(d, "", func() config.MinFree { return least })
		w.Look()
		d.hang, d.volume, least = make(chan struct{}), wal.Volume{Free: 40, Size: 100}, config.MinFree{Bytes: 45}
		go w.Run(t.Context())
		time.Sleep(time.Hour)
		if volume, _ := w.State(); volume.Free != 50 || w.Rejection() != nil {
			t.Errorf("while the disk hangs: got %+v, %v", volume, w.Rejection())
		}
		close(d.hang)
		synctest.Wait()
		if volume, _ := w.State(); volume.Free != 40 || w.Rejection() == nil {
			t.Errorf("afterwards: got %+v, %v", volume, w.Rejection())
		}
	})
}

// Retained segments are unlinked before the free space is under min_free, and no more of them than that takes.
func TestWatch_RetainedSegmentsGoBeforeMinFree(t *testing.T) {
	d := &disk{volume: wal.Volume{Free: 300, Size: 1000}, retained: 150}
	w := diskwatch.New(d, "", func() config.MinFree { return config.MinFree{Bytes: 200} })
	for _, step := range []struct {
		used, free, retained int64
		low                  bool
	}{{0, 300, 150, false}, {85, 215, 150, false}, {10, 210, 145, false}, {140, 210, 5, false}, {30, 185, 0, true}} {
		d.volume.Free -= step.used
		d.volume.Free = max(d.volume.Free, 0)
		w.Look()
		volume, _ := w.State()
		if low := w.Rejection() != nil; volume.Free != step.free || d.retained != step.retained || low != step.low {
			t.Errorf("after %d bytes: got %d free, %d retained, low %v, want %+v", step.used, volume.Free, d.retained, low, step)
		}
	}
}
