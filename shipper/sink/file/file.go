package file

import (
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

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// Sink is a directory of this host as a destination. It is a shipper.Keeper.
type Sink struct {
	o    Options
	disk disk

	committed atomic.Pointer[[]byte] // the state that the log holds
	wake      chan struct{}          // of capacity 1; committed has changed
	stop      chan struct{}          // closed by Close
	done      chan struct{}          // closed by keep
	closing   sync.Once
	closeErr  error

	due   *time.Timer // current has reached RollInterval
	retry *time.Timer // rolled[0] is to be finished again

	mu        sync.Mutex // guards the fields below; held while writing and syncing
	found     manifest   // the state that the log held at the start
	recovered bool
	current   *openPart
	rolled    []*part // whole files, oldest first, that wait for the commit that covers them
	chain     chain
}

// chain is a directory whose parents have been synced, up to Path.
type chain struct {
	dir  string // under Path
	info fs.FileInfo
}

// Open returns the destination and starts its goroutine, which Close ends. It cuts and finishes the files that an
// earlier process left unfinished. If that fails, for example because the disk is missing, Open logs the error and
// every Send first tries it again.
func Open(o Options) (*Sink, error) { return open(o, realDisk) }

func open(o Options, d disk) (*Sink, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	found, err := decodeManifest(o.State)
	if err != nil {
		return nil, fmt.Errorf("file: read state of stream %q: %w", o.Stream, err)
	}
	f := &Sink{
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
func (f *Sink) Shape() shipper.Shape { return f.o.Shape() }

// State returns the state that names the files that an earlier process left unfinished, or no files.
func (f *Sink) State() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.recovered {
		return f.found.encode()
	}
	return f.stateLocked()
}

// Send appends the batch to the current file and syncs it. It stores the whole batch or nothing.
func (f *Sink) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	if err := ctx.Err(); err != nil {
		e := failure.Of(err)
		return shipper.Response{Err: e, Code: e.Code}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.storeLocked(batch); err != nil {
		return shipper.Response{Err: classify(err), Code: "error"}
	}
	return shipper.Response{Results: make([]*shipper.Error, len(batch)), Code: "ok", State: f.stateLocked()}
}

func (f *Sink) storeLocked(batch []shipper.Record) error {
	if err := f.recoverLocked(); err != nil {
		return err
	}
	err := f.appendLocked(batch)
	if lost := (*lostError)(nil); errors.As(err, &lost) { // retry at once, in a new file
		err = f.appendLocked(batch)
	}
	if err == nil && f.current.Size >= f.o.RollSize {
		f.rollLocked()
	}
	return err
}

// appendLocked appends the batch to the current file. After a lostError or a failed sync there is no current file.
func (f *Sink) appendLocked(batch []shipper.Record) error {
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

// openLocked ensures that there is a current file, in the directory of this hour.
func (f *Sink) openLocked(first uint64) error {
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

// makeDirLocked makes Path/dir and syncs every directory from there up to Path. If another process removed or replaced
// the directory meanwhile, the new one is a different directory, and its parents are synced again.
func (f *Sink) makeDirLocked(dir string) error {
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

// stateLocked returns the state that has to be committed together with the checkpoint of everything stored so far.
func (f *Sink) stateLocked() []byte {
	s := manifest{Root: f.o.Path}
	for _, p := range f.rolled {
		s.Parts = append(s.Parts, *p)
	}
	if f.current != nil {
		s.Parts = append(s.Parts, *f.current.part)
	}
	return s.encode()
}

// fileName returns the name of the finished file whose first line is the event at offset first.
func fileName(stream string, first uint64) string {
	return fmt.Sprintf("%s-%d.jsonl", fileStream(stream), first)
}

// fileStream returns a stream's name in the form that is part of file names.
func fileStream(stream string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F", "\x00", "%00").Replace(stream)
}
