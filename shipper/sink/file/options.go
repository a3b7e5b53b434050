package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
)

// Limits and defaults of a file destination. One event may be as large as a whole gRPC request.
const (
	maxRecord    = 16<<20 + 1 // with its newline
	aimBatch     = 1 << 20
	batchRecords = 500

	defaultRollSize     = 64 << 20
	defaultRollInterval = 60 * time.Second

	// maxRolled bounds the whole files that can't be finished. At the limit Send fails until an operator fixes the
	// cause.
	maxRolled = 64
	// finishRetry is the delay before a file that could not be finished is tried again.
	finishRetry = 5 * time.Second
)

// Options configures a file destination.
type Options struct {
	Path         string        // the directory; created with the first file
	Stream       string        // the stream's name, which is part of the file names
	RollSize     int64         // size in bytes at which a file is whole; 0: 64 MiB
	RollInterval time.Duration // age at which a file is whole; 0: 60 s
	FileMode     fs.FileMode   // of the files; a directory has x beside each r; 0: 0644 and 0755 less the umask
	Envelope     *shipper.Envelope
	State        []byte // the Keeper's state as the log last stored it; nil: never stored
	Checkpoint   uint64 // of the same commit: all events before this offset are settled
	Clock        func() time.Time
	Logger       hclog.Logger
}

func (o *Options) setDefaults() error {
	if o.Path == "" || o.Stream == "" {
		return errors.New("file: path and stream are required")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return fmt.Errorf("file: path %q: %w", o.Path, err)
	}
	o.Path = path
	if o.RollSize <= 0 {
		o.RollSize = defaultRollSize
	}
	if o.RollInterval <= 0 {
		o.RollInterval = defaultRollInterval
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return nil
}

func (o *Options) fileMode() fs.FileMode { return cmp.Or(o.FileMode, 0o644) }

// grant adds the bits of mode that the umask removed at creation, if FileMode is set.
func (o *Options) grant(chmod func(fs.FileMode) error, mode fs.FileMode) error {
	if o.FileMode == 0 {
		return nil
	}
	return chmod(mode)
}

// dirMode adds the search bit for everyone who may read the files.
func (o *Options) dirMode() fs.FileMode { return o.fileMode() | o.fileMode()&0o444>>2 }

// Shape returns the limits of the destination. A record is written at once: it packs the lines of many keys.
func (o Options) Shape() shipper.Shape {
	return shipper.Shape{
		Framing:      shipper.FramingLines,
		WholeOrder:   true,
		MaxRecord:    maxRecord,
		AimRecord:    aimBatch,
		BatchRecords: batchRecords,
		MaxBatch:     maxRecord,
		AimBatch:     aimBatch,
		BilledStep:   1,
		Envelope:     o.Envelope,
	}
}
