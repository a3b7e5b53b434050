package wal_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A note is a write to the disk, so an idle log must make none.
func TestIdentity_NotesNothingWhileIdle(t *testing.T) {
	const attribute = "user.standpipe.events"
	l := openIdentified(t, filepath.Join(t.TempDir(), "a"))
	l.add(t, "s", 3)
	l.NoteEvents()
	if err := unix.Removexattr(l.Dir(), attribute); err != nil {
		notTested(t, "extended attributes", err)
		return
	}
	l.NoteEvents()
	if _, err := unix.Getxattr(l.Dir(), attribute, nil); err == nil {
		t.Error("an idle log has noted the same number again")
	}
	l.add(t, "s", 1)
	l.NoteEvents()
	if _, err := unix.Getxattr(l.Dir(), attribute, nil); err != nil {
		t.Errorf("got %v, want a note of the new event", err)
	}
}
