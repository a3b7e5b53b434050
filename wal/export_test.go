package wal

import (
	"os"
	"syscall"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// WithFaults returns o with hooks that run before and after each commit. A hook that returns an error makes the commit
// fail.
func (o Options) WithFaults(before, after func() error) Options {
	o.beforeCommit, o.afterCommit = before, after
	return o
}

// WithCompactStep returns o with a hook that is called when a segment has been copied ("copied"), and when the segment
// has the spans of the copy but not yet its file ("shrunk").
func (o Options) WithCompactStep(hook func(step string)) Options {
	o.compactStep = hook
	return o
}

// WithSettledStep returns o with a hook that is called after the log has found the settled segments, and before it
// removes them.
func (o Options) WithSettledStep(hook func()) Options {
	o.settledStep = hook
	return o
}

// WithParkedStep returns o with a hook that is called after the log has counted the events to drop for a parked cursor,
// and before it drops them.
func (o Options) WithParkedStep(hook func()) Options {
	o.parkedStep = hook
	return o
}

// CountLossesLater returns o with all losses counted in the background after Open.
func (o Options) CountLossesLater() Options {
	o.checkAtOpen = -1
	return o
}

// WithUnlink returns o with unlink as the function that removes truncated segments.
func (o Options) WithUnlink(unlink func(path string) error) Options {
	o.unlink = unlink
	return o
}

// WithFolderSync returns o with f as the function that syncs the segments' folder.
func (o Options) WithFolderSync(f func(d *os.File) error) Options {
	o.syncFolder = f
	return o
}

// Hold blocks truncation and compaction until release is called.
func (l *Log) Hold() (release func()) { return l.segments.Hold() }

// ErrNoSpace is the error of a commit that found no space. The log goes on after it.
var ErrNoSpace error = &segfile.CommitError{Err: syscall.ENOSPC, Harmless: true}

// ProducerRuns is the maximum number of runs that the log keeps of a producer.
const ProducerRuns = producer.MaxRuns

// FileSizes returns the bytes that a file's blocks occupy, and the file's length.
var FileSizes = disk.Sizes

// Dir returns the directory of the segments.
func (l *Log) Dir() string { return l.dir }

// MaxProducers bounds the producers that the log keeps; for a while it may keep up to twice as many.
const MaxProducers = producer.Max

// Producers returns the number of producers that the log keeps. Nothing may be appended meanwhile.
func (l *Log) Producers() int { return l.committer.Producers().Len() }

// Waiting returns the number of calls of WaitSettled that wait for a batch of the stream.
func (l *Log) Waiting(stream string) int {
	s := l.streams.get(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.awaited)
}

// BlockAim is the target length of a block.
const BlockAim = segment.BlockAim

// Rewriting returns o with segments compacted at once, including those that may drain by themselves.
func (o Options) Rewriting() Options {
	o.compactAtOnce = true
	return o
}

// Patient returns o with the time d after which blocks that the disk can't read count as lost.
func (o Options) Patient(d time.Duration) Options {
	o.readPatience = d
	return o
}

// Rewriting reports whether a compaction is running.
func (l *Log) Rewriting() bool { return l.compactor.Running() }

// LeastFrame is the minimum length that Open assumes for each event of a lost segment.
const LeastFrame = segment.LeastFrame

// FrameSize returns the length of the event's frame in a block.
func FrameSize(e *Event) int { return segment.FrameSize(e) }

// NoteEvents notes the number of events beside the log's files, as upkeep does.
func (l *Log) NoteEvents() { l.identity.NoteEvents(l.dir, l.streams.events()) }

// Compact starts the compaction of the segments that are worth it, as upkeep does.
func (l *Log) Compact() { l.compactor.Start() }

// AwaitCompaction returns when the running compaction has ended.
func (l *Log) AwaitCompaction() { l.compactor.Wait() }

// StreamsInMemory returns the number of streams that the log keeps in memory, and whether a cursor waits for a checkpoint.
func (l *Log) StreamsInMemory() (n int, dirty bool) {
	l.streams.mu.RLock()
	defer l.streams.mu.RUnlock()
	return len(l.streams.all), !l.streams.dirty.Empty()
}

// AwaitTruncation returns after a pass of the truncator that has not begun yet.
func (l *Log) AwaitTruncation() { l.truncator.AwaitPass() }
