package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
)

// Of a file destination. One event may be as large as a whole gRPC request.
const (
	fileMaxRecord    = 16<<20 + 1 // with its newline
	fileAimBatch     = 1 << 20
	fileBatchRecords = 500

	defaultRollSize     = 64 << 20
	defaultRollInterval = 60 * time.Second

	// maxRolled bounds the files that are whole but can't be finished; Send then waits for an operator.
	maxRolled = 64
	// finishRetry is how long a file that could not be finished waits for the next attempt.
	finishRetry = 5 * time.Second
)

// FileOptions says where a file destination writes.
type FileOptions struct {
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

func (o *FileOptions) setDefaults() error {
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

func (o *FileOptions) fileMode() fs.FileMode { return cmp.Or(o.FileMode, 0o644) }

// grant adds the bits of mode that the umask removed at creation, if FileMode is set.
func (o *FileOptions) grant(chmod func(fs.FileMode) error, mode fs.FileMode) error {
	if o.FileMode == 0 {
		return nil
	}
	return chmod(mode)
}

// dirMode adds the search bit for everyone who may read the files.
func (o *FileOptions) dirMode() fs.FileMode { return o.fileMode() | o.fileMode()&0o444>>2 }

// File is a directory of this host as a destination. It is a shipper.Keeper.
type File struct {
	o    FileOptions
	disk disk

	committed atomic.Pointer[[]byte] // the state that the log holds
	wake      chan struct{}          // of capacity 1; committed has changed
	stop      chan struct{}          // closed by Close
	done      chan struct{}          // closed by keep
	closing   sync.Once
	closeErr  error

	due   *time.Timer // current has reached its age
	retry *time.Timer // rolled[0] may be tried again

	mu        sync.Mutex // guards what follows; held while writing and syncing
	found     fileState  // what the log vouched for at the start
	recovered bool
	current   *openPart
	rolled    []*part // whole, oldest first: they wait for the commit that covers them
	chain     chain
}

// chain is a directory whose parents up to Path were synced.
type chain struct {
	dir  string // under Path
	info fs.FileInfo
}

// OpenFile returns the destination and starts its goroutine, which Close ends. It cuts and
// finishes what an earlier life left behind; when that fails, because the disk is not there, it
// says so in the log and every Send tries it first.
func OpenFile(o FileOptions) (*File, error) { return openFile(o, realDisk) }

func openFile(o FileOptions, d disk) (*File, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	found, err := decodeState(o.State)
	if err != nil {
		return nil, fmt.Errorf("file: read state of stream %q: %w", o.Stream, err)
	}
	f := &File{
		o:     o,
		disk:  d,
		wake:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
		due:   stoppedTimer(),
		retry: stoppedTimer(),
		found: found,
	}
	if err := f.recoverLocked(); err != nil {
		o.Logger.Error("file: recover", "stream", o.Stream, "error", err)
	}
	go f.keep()
	return f, nil
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// Shape never changes.
func (f *File) Shape() shipper.Shape { return f.o.Shape() }

// Shape returns what the destination takes. A record is what is written at once: it packs the lines of
// many keys.
func (o FileOptions) Shape() shipper.Shape {
	return shipper.Shape{
		Framing:      shipper.FramingLines,
		WholeOrder:   true,
		MaxRecord:    fileMaxRecord,
		AimRecord:    fileAimBatch,
		BatchRecords: fileBatchRecords,
		MaxBatch:     fileMaxRecord,
		AimBatch:     fileAimBatch,
		BilledStep:   1,
		Envelope:     o.Envelope,
	}
}

// State vouches for what an earlier life left unfinished, or for nothing.
func (f *File) State() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.recovered {
		return f.found.encode()
	}
	return f.stateLocked()
}

// Send appends the batch to the current file and syncs it: all of it is stored, or none.
func (f *File) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	if err := ctx.Err(); err != nil {
		e := &shipper.Error{Record: -1}
		classifySend(err, e)
		return shipper.Response{Err: e, Code: e.Code}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.storeLocked(batch); err != nil {
		return shipper.Response{Err: classifyFile(err), Code: "error"}
	}
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "ok", State: f.stateLocked()}
}

func (f *File) storeLocked(batch []shipper.Record) error {
	if err := f.recoverLocked(); err != nil {
		return err
	}
	err := f.appendLocked(batch)
	if lost := (*lostError)(nil); errors.As(err, &lost) { // a new file takes the batch at once
		err = f.appendLocked(batch)
	}
	if err == nil && f.current.Size >= f.o.RollSize {
		f.rollLocked()
	}
	return err
}

// appendLocked appends the batch to the current file. After a lostError, or a sync that failed, there is no
// current file any more.
func (f *File) appendLocked(batch []shipper.Record) error {
	if err := f.openLocked(batch[0].First); err != nil {
		return err
	}
	err := f.current.append(batch, f.disk)
	var failed *syncError
	var lost *lostError
	switch {
	case errors.As(err, &failed):
		f.abandonLocked()
	case errors.As(err, &lost):
		f.loseLocked(lost)
	}
	return err
}

// openLocked makes sure that there is a current file, in the directory of this hour.
func (f *File) openLocked(first uint64) error {
	dir := f.o.Clock().UTC().Format("2006/01/02/15")
	if f.current != nil && filepath.ToSlash(filepath.Dir(f.current.Tmp)) != dir {
		f.rollLocked()
	}
	if f.current != nil {
		return nil
	}
	f.removeEmptyLocked()
	if len(f.rolled) >= maxRolled {
		return fmt.Errorf("%w: %d", errUnfinished, len(f.rolled))
	}
	dir = filepath.FromSlash(dir)
	if err := f.makeDirLocked(dir); err != nil {
		return err
	}
	current, err := f.createPart(dir, fileName(f.o.Stream, first))
	if err != nil {
		return err
	}
	f.current = current
	f.due.Reset(f.o.RollInterval)
	return nil
}

// makeDirLocked makes Path/dir and syncs every directory from there up to Path. A directory that another process
// removed or replaced meanwhile is a different one, and its parents are synced again.
func (f *File) makeDirLocked(dir string) error {
	path := filepath.Join(f.o.Path, dir)
	info, err := os.Stat(path)
	if err == nil && f.chain.dir == dir && os.SameFile(info, f.chain.info) {
		return nil
	}
	if err := f.makeDirs(path); err != nil {
		return err
	}
	for d := dir; d != "."; d = filepath.Dir(d) {
		if err := f.disk.syncDir(filepath.Join(f.o.Path, filepath.Dir(d))); err != nil {
			return err
		}
	}
	if info, err = os.Stat(path); err != nil {
		return fmt.Errorf("stat directory: %w", err)
	}
	f.chain = chain{dir, info}
	return nil
}

// stateLocked is what the checkpoint of everything stored so far has to be committed with.
func (f *File) stateLocked() []byte {
	s := fileState{Root: f.o.Path}
	for _, p := range f.rolled {
		s.Parts = append(s.Parts, *p)
	}
	if f.current != nil {
		s.Parts = append(s.Parts, *f.current.part)
	}
	return s.encode()
}

// fileName is the name of the whole file whose first line is the event at offset first.
func fileName(stream string, first uint64) string {
	return fmt.Sprintf("%s-%d.jsonl", fileStream(stream), first)
}

// fileStream is a stream's name as part of a file's.
func fileStream(stream string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F", "\x00", "%00").Replace(stream)
}
