package wal

import (
	"errors"
	"fmt"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
	"syscall"
)

// A sync that failed is for ever: the letters there are can be read, and no other is stored.
func TestNothingIsBuriedAfterAFailedSync(t *testing.T) {
	broken := fmt.Errorf("sync: %w", syscall.EIO)
	for name, fails := range map[string]func(tx *bolt.Tx) error{
		"before": func(*bolt.Tx) error { return broken },
		"after":  func(tx *bolt.Tx) error { return errors.Join(tx.Commit(), broken) },
	} {
		t.Run(name, func(t *testing.T) {
			d := OpenDead(t.TempDir())
			if err := d.Bury(soundLetter()); err != nil {
				t.Fatal(err)
			}
			d.commit = fails
			if err := d.Bury(soundLetter()); !errors.Is(err, syscall.EIO) {
				t.Errorf("got %v, want EIO", err)
			}
			d.commit = (*bolt.Tx).Commit
			_, dropErr := d.Drop(1)
			if err := d.Bury(soundLetter()); !errors.Is(err, syscall.EIO) || !errors.Is(dropErr, syscall.EIO) {
				t.Errorf("got %v, %v, want the first error again", err, dropErr)
			}
			if got, err := d.Get(1); err != nil || got.Reason != soundLetter().Reason {
				t.Errorf("got %+v, %v, want the letter from before", got, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBuryingGoesOnWhenThereIsSpaceAgain(t *testing.T) {
	d := OpenDead(t.TempDir())
	if err := d.Bury(soundLetter()); err != nil {
		t.Fatal(err)
	}
	d.commit = func(*bolt.Tx) error { return &os.PathError{Op: "write", Path: d.path, Err: syscall.ENOSPC} }
	if err := d.Bury(soundLetter()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	d.commit = (*bolt.Tx).Commit
	if err := d.Bury(soundLetter()); err != nil {
		t.Errorf("got %v, want it stored", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
