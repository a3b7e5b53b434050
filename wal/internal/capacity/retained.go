package capacity

import "github.com/standpipe/standpipe/wal/internal/disk"

// Retained makes space of retained segments. They hold no event that a destination needs, so their bytes count as free.
// Whatever allocates bytes calls fit before, and WithSpace for a volume that is full all the same: retained segments are
// unlinked before anything is rejected for lack of space.
type Retained struct{ capacity *Capacity }

// Headroom returns the bytes that retained segments leave free, so that few commits wait for an unlink.
func (r Retained) Headroom() int64 {
	room := min(r.capacity.SegmentSize+r.capacity.LargestCommit, r.capacity.Max()/8)
	if volume := r.capacity.volume.Load(); volume > 0 {
		room = min(room, volume/8)
	}
	return room
}

// Over returns by how many bytes the log with its retained segments would exceed Max, or the free bytes of the volume, if
// more bytes were allocated. It is 0 if there are no retained segments.
func (r Retained) Over(more int64) int64 {
	use := r.capacity.Segments.Use()
	if use.Retained == 0 {
		return 0
	}
	over := use.Retained + more + r.capacity.margin() - r.capacity.unallocated(use)
	if free, err := disk.Free(r.capacity.Dir); err == nil {
		over = max(over, more+r.capacity.margin()-free)
	}
	return max(over, 0)
}

// fit unlinks retained segments until more bytes can be allocated, or none is left.
func (r Retained) fit(more int64) {
	for over := r.Over(more); over > 0 && r.capacity.Release(over); {
		over = r.Over(more)
	}
	if r.Over(more+r.Headroom()) > 0 {
		r.capacity.Trim()
	}
}

// WithSpace calls f, which allocates about that many bytes. While f finds no space on the volume, retained segments are
// unlinked, and f is called again.
func (r Retained) WithSpace(bytes int64, f func() error) error {
	err := f()
	for disk.NoSpace(err) && r.capacity.Segments.Use().Retained > 0 && r.capacity.Release(max(bytes, 1)) {
		err = f()
	}
	return err
}
