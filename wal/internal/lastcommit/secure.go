package lastcommit

import (
	"errors"
	"fmt"
	"os"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/disk"
)

// Secure makes the last whole commit of the file durable, and removes a torn one. The caller has found it with Check, and
// nothing has written to the file since.
func (f *Found) Secure(path string) (err error) {
	if f.kept == f.replaced && len(f.Small.Pages) == 0 {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("secure segment: %w", err)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = fmt.Errorf("secure segment %s: %w", path, err)
		}
	}()
	for i, page := range f.Small.Pages {
		if _, err := file.WriteAt(page, f.Small.Offset(i+1)); err != nil {
			return fmt.Errorf("write small commit %d again: %w", i+1, err)
		}
	}
	if f.kept == f.replaced {
		return file.Sync()
	}
	if f.Torn == 0 {
		if err := f.writeAgain(file); err != nil && !disk.NoSpace(err) { // a file system that writes no page in place may be full
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return errors.Join(copyMeta(file, f.pageSize, f.kept, f.replaced), file.Sync())
}

// writeAgain writes the pages of the last commit, and then its meta page, as they are.
func (f *Found) writeAgain(file *os.File) error {
	page := make([]byte, f.pageSize)
	for _, id := range append(f.unsynced, uint64(f.kept)) {
		at := int64(id) * f.pageSize
		if _, err := file.ReadAt(page, at); err != nil {
			return fmt.Errorf("read page %d: %w", id, err)
		}
		if _, err := file.WriteAt(page, at); err != nil {
			return fmt.Errorf("write page %d again: %w", id, err)
		}
	}
	return nil
}

// Confirm makes both meta pages those of transaction tx, the last one, which is on the disk. From then on the file has no
// torn commit. The caller need not sync the file: without the confirmation, Open reads more of it.
func Confirm(file *os.File, pageSize int64, tx uint64) error {
	kept := int(tx % 2) // where bbolt writes it
	return copyMeta(file, pageSize, kept, 1-kept)
}

func copyMeta(file *os.File, pageSize int64, from, to int) error {
	var m boltpage.MetaContent
	if _, err := file.ReadAt(m[:], boltpage.MetaAt(pageSize, from)); err != nil {
		return fmt.Errorf("read meta page %d: %w", from, err)
	}
	if _, err := file.WriteAt(m[:], boltpage.MetaAt(pageSize, to)); err != nil {
		return fmt.Errorf("write meta page %d: %w", to, err)
	}
	return nil
}
