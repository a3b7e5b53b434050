package liveset

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Load adds a sealed segment with its events when the log is opened.
func (set *Set) Load(file *segfile.File, spans map[string]segment.Span, gapped bool) {
	seg := &Segment{File: file, spans: spans, gapped: gapped, size: file.Disk(), sealedAt: writtenAt(file.Path)}
	set.mu.Lock()
	defer set.mu.Unlock()
	set.all = append(set.all, seg)
	set.sealed += seg.size
	for name := range spans {
		set.noteLocked(name)
	}
}

// writtenAt returns when the file was last written, by the host's clock; at most now.
func writtenAt(path string) time.Time {
	now := time.Now()
	if st, err := os.Stat(path); err == nil && st.ModTime().Before(now) {
		return st.ModTime()
	}
	return now
}

// noteLocked records that the set has events of the stream.
func (set *Set) noteLocked(stream string) {
	if set.oldest[stream] == nil {
		set.oldest[stream] = new(atomic.Uint64)
	}
}

// Begin adds the newest segment after Load has added all others.
func (set *Set) Begin(seg *Segment) {
	set.mu.Lock()
	defer set.mu.Unlock()
	set.all = append(set.all, seg)
}

// Unseal makes the segment that Load has added last the newest, and returns it. See Segment.Continued.
func (set *Set) Unseal(continued bool) *Segment {
	set.mu.Lock()
	defer set.mu.Unlock()
	seg := set.all[len(set.all)-1]
	seg.continued = continued
	set.sealed -= seg.size
	return seg
}

// EachSpan calls f with the span of each stream in each segment, oldest segment first.
func (set *Set) EachSpan(f func(stream string, sp segment.Span)) {
	set.mu.RLock()
	defer set.mu.RUnlock()
	for _, seg := range set.all {
		for name, sp := range seg.spans {
			f(name, sp)
		}
	}
}
