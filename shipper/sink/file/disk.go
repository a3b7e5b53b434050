package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// disk holds the calls with which a Sink changes and syncs its files, so that tests can make them fail.
type disk struct {
	write    func(f *os.File, b []byte) (int, error)
	truncate func(f *os.File, size int64) error
	sync     func(f *os.File) error
	syncDir  func(dir string) error
}

var realDisk = disk{write: (*os.File).Write, truncate: (*os.File).Truncate, sync: fdatasync, syncDir: syncDir}

// errUnfinished is returned by Send while too many whole files can't be renamed.
var errUnfinished = errors.New("too many files wait to be finished")

// codeNoSpace is the code for a full disk or an exhausted quota.
const codeNoSpace = "no space"

// classify maps an error of this host's disk to a shipper.Error. A full disk is retried, because space may become free
// without an operator. Missing rights and a wrong path need an operator.
func classify(err error) *shipper.Error {
	e := &shipper.Error{Class: shipper.Transient, Code: "io", Text: failure.Shorten(err.Error()), Record: -1}
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		e.Code = codeNoSpace
	case syscall.EACCES, syscall.EPERM:
		e.Class, e.Code = shipper.Operator, "permission"
	case syscall.EROFS:
		e.Class, e.Code = shipper.Operator, "read-only"
	case syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.ELOOP:
		e.Class, e.Code = shipper.Operator, "path"
	}
	if errors.Is(err, errUnfinished) {
		e.Class, e.Code = shipper.Operator, "unfinished"
	}
	return e
}

// makeDirs makes path and its missing parents, and syncs the parent of each that it made.
func (f *Sink) makeDirs(path string) error {
	err := os.Mkdir(path, f.o.dirMode())
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		if err := f.makeDirs(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, f.o.dirMode())
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("make directory: %w", err)
	}
	err = f.o.grant(func(mode fs.FileMode) error { return os.Chmod(path, mode) }, f.o.dirMode())
	if err == nil {
		err = f.disk.syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path) // an existing directory would count as synced
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// renameUnlessThere renames old to path unless path exists. It is for systems without a call that does both in one
// step.
func renameUnlessThere(old, path string) error {
	if exists(path) {
		return fs.ErrExist
	}
	return os.Rename(old, path)
}
