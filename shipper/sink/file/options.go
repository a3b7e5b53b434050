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

// Of a file destination. One event may be as large as a whole gRPC request.
const (
	maxRecord    = 16<<20 + 1 // with its newline
	aimBatch     = 1 << 20
	batchRecords = 500

	defaultRollSize     = 64 << 20
	defaultRollInterval = 60 * time.Second

	// maxRolled bounds the files that are whole but can't be finished; Send then waits for an operator.
	maxRolled = 64
	// finishRetry is how long a file that could not be finished waits for the next attempt.
	finishRetry = 5 * time.Second
)

// Options says where a file destination writes.
type Options struct {
	Path         string        // the directory; made when the first file is
	Stream       string        // the stream's name; files are named for it
	RollSize     int64         // bytes after which a file is whole; 0: 64 MiB
	RollInterval time.Duration // age at which it is; 0: 60 s
	FileMode     fs.FileMode   // of the files; a directory has x beside each r; 0: 0644 and 0755 less the umask
	Envelope     *shipper.Envelope
	State        []byte // the Keeper's state as the log last stored it; nil: none ever was
	Checkpoint   uint64 // of the same commit: every event before is settled
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

// Shape returns what the destination takes. A record is what is written at once: it packs the lines of
// many keys.
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
