package wal

import (
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/timeline"
)

// Defaults of Options.
const (
	DefaultMaxSize     = 8 << 30
	DefaultSegmentSize = 64 << 20
	DefaultLockTimeout = 30 * time.Second
	// DefaultProducerIdle lets a gateway that was off for several days send its last batch again.
	DefaultProducerIdle = 7 * 24 * time.Hour

	// MinMaxSize is the smallest MaxSize: room for four segments of a few commits each.
	MinMaxSize = 1 << 20
)

// Options are the settings of a log for Open. The zero value of a field means its default.
type Options struct {
	Dir          string        // the data directory; created with mode 0700
	MaxSize      int64         // bytes that all segments and dead letters may occupy; default 8 GiB, at least 1 MiB
	SegmentSize  int64         // bytes of a segment; default 64 MiB, at most a quarter of MaxSize, and 64 MiB on 32-bit platforms
	CommitLinger time.Duration // the longest wait of a batch for others that share its commit; default 0; see Batch.Linger
	// CheckpointInterval is the longest time until a settlement is synced. After a crash, events that were delivered within
	// that time may be delivered again. A longer interval saves commits: a checkpoint joins a commit of appends if it can.
	CheckpointInterval time.Duration // default 250 ms
	OnFull             OnFull        // default Reject
	LockTimeout        time.Duration // how long to wait for another holder of Dir; default 30 s
	// Retain is how long a segment that every destination has settled stays for History, counted from its seal; 0: it
	// is unlinked at once. It goes earlier when appends, the volume or other uses of MaxSize want its bytes.
	Retain       time.Duration
	ProducerIdle time.Duration // a producer that sends nothing for this long is evicted; default 7 days
	NodeName     string        // written into the lock file beside the process id
	Logger       hclog.Logger  // default: none
	Clock        func() time.Time
	Timelines    *timeline.Table // of Dir; Open loads it; default: timeline.New(Dir)
	// OnCommit, if set, is called after every commit that held events, on the goroutine that commits: one call at a
	// time, before the appends return.
	OnCommit func(CommitInfo)

	// beforeCommit and afterCommit are test hooks that make a commit fail: before it happened, and after it happened.
	beforeCommit, afterCommit func() error
	compactAtOnce             bool                    // also segments that may drain by themselves
	checkAtOpen               int64                   // bytes, see reconcileAll; default checkAtOpen, less than 0: none
	parkedStep                func()                  // test hook: a parked cursor is about to drop the counted events
	compactStep               func(step string)       // test hook: a compaction has finished this step: copied, shrunk
	settledStep               func()                  // test hook: the settled segments are found and not removed yet
	unlink                    func(path string) error // of a segment that is truncated; default os.Remove
	syncFolder                func(d *os.File) error  // of the segments' folder; default disk.SyncOpenDir
	readPatience              time.Duration           // default segfile.ReadPatience
}

func (o *Options) validate() error {
	if o.Dir == "" {
		return fmt.Errorf("wal: no data directory is named")
	}
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxSize < MinMaxSize {
		return fmt.Errorf("wal: a maximum size of %d bytes is under %d", o.MaxSize, MinMaxSize)
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.SegmentSize < int64(os.Getpagesize()) {
		return fmt.Errorf("wal: a segment size of %d bytes is under a page", o.SegmentSize)
	}
	o.SegmentSize = min(o.SegmentSize, o.MaxSize/4)
	o.SegmentSize = segfile.LimitSize(o.SegmentSize)
	switch o.OnFull {
	case "":
		o.OnFull = Reject
	case Reject, Block, DropOldest:
	default:
		return fmt.Errorf("wal: on full %q is not reject, block or drop_oldest", o.OnFull)
	}
	if o.Retain < 0 {
		return fmt.Errorf("wal: a retention of %v is negative", o.Retain)
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.CheckpointInterval <= 0 {
		o.CheckpointInterval = CheckpointInterval
	}
	if o.readPatience == 0 {
		o.readPatience = segfile.ReadPatience
	}
	if o.ProducerIdle == 0 {
		o.ProducerIdle = DefaultProducerIdle
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.checkAtOpen == 0 {
		o.checkAtOpen = checkAtOpen
	}
	if o.parkedStep == nil {
		o.parkedStep = func() {}
	}
	if o.settledStep == nil {
		o.settledStep = func() {}
	}
	if o.compactStep == nil {
		o.compactStep = func(string) {}
	}
	if o.syncFolder == nil {
		o.syncFolder = disk.SyncOpenDir
	}
	if o.unlink == nil {
		o.unlink = os.Remove
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Timelines == nil {
		o.Timelines = timeline.New(o.Dir)
	}
	return nil
}
