package wal

import (
	"os"
	"syscall"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// WithFaults returns o with hooks that run before and after each commit and may make it fail.
func (o Options) WithFaults(before, after func() error) Options {
	o.beforeCommit, o.afterCommit = before, after
	return o
}

// WithCompactStep returns o with a hook that is called when a segment's copy is made ("copied"), and when its spans are those
// of the copy and its file is not yet ("shrunk").
func (o Options) WithCompactStep(hook func(step string)) Options {
	o.compactStep = hook
	return o
}

// WithSettledStep returns o with a hook that is called when the segments that may go were found, and are in the log still.
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

// ReckonLater returns o with all that is lost reckoned after Open.
func (o Options) ReckonLater() Options {
	o.reckonAtOpen = -1
	return o
}

// WithUnlink returns o with segments truncated by unlink.
func (o Options) WithUnlink(unlink func(path string) error) Options {
	o.unlink = unlink
	return o
}

// WithFolderSync returns o with the segments' folder synced by f.
func (o Options) WithFolderSync(f func(d *os.File) error) Options {
	o.syncFolder = f
	return o
}

// Hold keeps truncation and compaction out until release is called.
func (l *Log) Hold() (release func()) { return l.segments.hold() }

// ErrNoSpace is a commit's that found no space; the log goes on.
var ErrNoSpace error = &commitError{err: syscall.ENOSPC, harmless: true}

// ProducerRuns is how many runs are remembered of a producer.
const ProducerRuns = producerRuns

// FileSizes returns the bytes that a file's blocks occupy, and its length.
var FileSizes = disk.Sizes

// Dir is where the segments are.
func (l *Log) Dir() string { return l.dir }

// MaxProducers bounds the producers that are remembered.
const MaxProducers = maxProducers

// Producers returns how many producers are remembered, while nothing is appended.
func (l *Log) Producers() int { return len(l.committer.producers.all) }

// Waiting returns how many calls of WaitSettled wait for a batch of the stream.
func (l *Log) Waiting(stream string) int {
	s := l.streams.get(stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.awaited)
}

// BlockAim is the length of a block to aim for.
const BlockAim = segment.BlockAim

// RestOfLeaf returns what fills a leaf of so many pages whose first block has that length.
func RestOfLeaf(first, pages int) int { return restOfLeaf(first, roomOfLeaf(pages)) }

// Rewriting returns o with segments rewritten as soon as it is worth it.
func (o Options) Rewriting() Options {
	o.compactAtOnce = true
	return o
}

// Patient returns o with blocks that the disk can't read given up after d.
func (o Options) Patient(d time.Duration) Options {
	o.readPatience = d
	return o
}

// Rewriting tells whether segments are being rewritten.
func (l *Log) Rewriting() bool { return l.compactor.running.Load() }

// LeastFrame is the length that Open takes an event in a lost segment to have at least.
const LeastFrame = segment.LeastFrame

// FrameSize returns the length of the event's frame in a block.
func FrameSize(e *Event) int { return segment.FrameSize(e) }

// NoteEvents notes the number of events beside the log's files, as upkeep does.
func (l *Log) NoteEvents() { l.identity.noteEvents(l.dir, l.streams.events()) }

// Compact compacts the segments that are worth it, as upkeep does.
func (l *Log) Compact() { l.compactor.start() }

// AwaitCompaction returns when the compaction under way has ended.
func (l *Log) AwaitCompaction() { l.compactor.workers.Wait() }
