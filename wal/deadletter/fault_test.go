package deadletter_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A failed sync is final: the existing letters can still be read, and no other letter is stored.
func TestPut_FailsAfterAFailedSync(t *testing.T) {
	broken := fmt.Errorf("sync: %w", syscall.EIO)
	for name, fails := range map[string]func(tx *bolt.Tx) error{
		"before": func(*bolt.Tx) error { return broken },
		"after":  func(tx *bolt.Tx) error { return errors.Join(tx.Commit(), broken) },
	} {
		t.Run(name, func(t *testing.T) {
			d := deadletter.Open(t.TempDir(), deadletter.Options{})
			if err := d.Put(letter(1)); err != nil {
				t.Fatal(err)
			}
			d.SetCommit(fails)
			if err := d.Put(letter(1)); !errors.Is(err, syscall.EIO) {
				t.Errorf("got %v, want EIO", err)
			}
			d.SetCommit((*bolt.Tx).Commit)
			_, dropErr := d.Drop(1)
			if err := d.Put(letter(1)); !errors.Is(err, syscall.EIO) || !errors.Is(dropErr, syscall.EIO) {
				t.Errorf("got %v, %v, want the first error again", err, dropErr)
			}
			if got, err := d.Get(1); err != nil || got.Reason != letter(1).Reason {
				t.Errorf("got %+v, %v, want the letter from before", got, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPut_WorksWhenThereIsSpaceAgain(t *testing.T) {
	d := deadletter.Open(t.TempDir(), deadletter.Options{})
	if err := d.Put(letter(1)); err != nil {
		t.Fatal(err)
	}
	d.SetCommit(func(*bolt.Tx) error { return &os.PathError{Op: "write", Path: "dead.db", Err: syscall.ENOSPC} })
	if err := d.Put(letter(1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	d.SetCommit((*bolt.Tx).Commit)
	if err := d.Put(letter(1)); err != nil {
		t.Errorf("got %v, want it stored", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A sync that failed for lack of space is as final as any other failed sync: the data that it had to write is lost.
func TestPut_FailsAfterASyncWithoutSpace(t *testing.T) {
	for name, late := range map[string]error{
		"bare":      syscall.ENOSPC,
		"of a sync": &os.PathError{Op: "sync", Path: segment.DeadName, Err: syscall.ENOSPC},
		"quota":     fmt.Errorf("sync: %w", syscall.EDQUOT),
	} {
		t.Run(name, func(t *testing.T) {
			d := deadletter.Open(t.TempDir(), deadletter.Options{})
			if err := d.Put(letter(1)); err != nil {
				t.Fatal(err)
			}
			d.SetCommit(func(*bolt.Tx) error { return late })
			if err := d.Put(letter(1)); !errors.Is(err, late) {
				t.Errorf("got %v, want %v", err, late)
			}
			d.SetCommit((*bolt.Tx).Commit)
			_, dropErr := d.Drop(1)
			if err := d.Put(letter(1)); !errors.Is(err, late) || !errors.Is(dropErr, late) {
				t.Errorf("got %v, %v, want the first error again", err, dropErr)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// largeAndFew stores large letters and returns the IDs of all but the first. These letters take up most of the file.
func largeAndFew(t *testing.T, d *deadletter.Queue) (drop []uint64) {
	t.Helper()
	large := letter(1)
	large.Event.Data = make([]byte, 60_000)
	for id := range uint64(40) {
		if err := d.Put(large); err != nil {
			t.Fatal(err)
		}
		if id > 0 {
			drop = append(drop, id+1)
		}
	}
	return drop
}

// If the copy cannot be made, or cannot be renamed to the file's name, the file stays as it is.
func TestDeadLetters_StayWhereTheyAreWhenTheirFileCannotShrink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, segment.DeadName)
	d := deadletter.Open(dir, deadletter.Options{})
	defer d.Close()
	drop := largeAndFew(t, d)
	_, before, _ := disk.Sizes(path)
	d.SetCopied(func() error { return syscall.ENOSPC })
	if got, err := d.Drop(drop[1:]...); err != nil || len(got) != 38 {
		t.Errorf("got %v, %v, want 38 dropped", got, err)
	}
	_, length, _ := disk.Sizes(path)
	if _, err := os.Stat(path + segment.UnfinishedSuffix); length != before || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %d bytes and a copy: %v, want the %d of before and none", length, err, before)
	}
	if err := d.Put(letter(1)); err != nil {
		t.Error(err)
	}
	d.SetCopied(func() error { return nil })
	if _, err := d.Drop(drop[0]); err != nil {
		t.Error(err)
	}
	if _, length, _ = disk.Sizes(path); length >= before/2 {
		t.Errorf("got %d bytes at the next try, want less than half of %d", length, before)
	}
	if last, err := d.LastID(); err != nil || last != 41 {
		t.Errorf("got %d, %v, want 41", last, err)
	}
}

// The queue logs once that the file cannot be shrunk, and once more when it has been shrunk.
func TestDeadLetters_LogAFileThatCannotShrink(t *testing.T) {
	var logged bytes.Buffer
	d := deadletter.Open(t.TempDir(), deadletter.Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &logged})})
	defer d.Close()
	drop := largeAndFew(t, d)
	d.SetCopied(func() error { return syscall.EDQUOT })
	for _, id := range drop[2:] {
		if _, err := d.Drop(id); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(logged.String(), "dead letters: file not shrunk"); n != 1 || !strings.Contains(logged.String(), syscall.EDQUOT.Error()) {
		t.Errorf("got %d lines, want 1 with the error: %s", n, logged.String())
	}
	d.SetCopied(func() error { return nil })
	if _, err := d.Drop(drop[:2]...); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "dead letters: file shrunk"); n != 1 {
		t.Errorf("got %d lines, want 1: %s", n, logged.String())
	}
}

// A crash leaves the file and a complete or partial copy. Open uses the file.
func TestDeadLetters_AfterACrashBetweenCopyAndRename(t *testing.T) {
	for _, cut := range []int{0, 1, 2} { // halves of the copy that were written
		dir, left := t.TempDir(), t.TempDir()
		d := deadletter.Open(dir, deadletter.Options{})
		drop := largeAndFew(t, d)
		d.SetCopied(func() error { // copies the folder in its present state
			for _, suffix := range []string{"", segment.UnfinishedSuffix} {
				b, err := os.ReadFile(filepath.Join(dir, segment.DeadName) + suffix)
				if suffix != "" {
					b = b[:len(b)*cut/2]
				}
				if err := errors.Join(err, os.WriteFile(filepath.Join(left, segment.DeadName+suffix), b, 0o600)); err != nil {
					t.Error(err)
				}
			}
			return nil
		})
		if _, err := d.Drop(drop...); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := wal.Open(t.Context(), wal.Options{Dir: left})
		if err != nil {
			t.Fatal(err)
		}
		after := l.OpenDeadLetters(nil)
		letters, err := after.List(t.Context(), deadletter.Query{})
		if err != nil || len(letters) != 1 || letters[0].ID != 1 {
			t.Errorf("got %+v, %v, want the letter that was kept", letters, err)
		}
		if _, err := os.Stat(filepath.Join(left, segment.DeadName+segment.UnfinishedSuffix)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want no copy left", err)
		}
		if err := after.Put(letter(1)); err != nil {
			t.Error(err)
		}
		if last, err := after.LastID(); err != nil || last != 41 {
			t.Errorf("got id %d, %v, want 41", last, err)
		}
		if err := errors.Join(after.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	}
}
