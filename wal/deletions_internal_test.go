package wal

import (
	"errors"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe/wal/internal/segfile"
)

// A cursor that is parked between the collection of the cursors and the commit leaves nothing on the disk, although the
// commit stores its entry too.
func TestDeletions_OfACursorParkedDuringItsCheckpoint(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), &Batch{Stream: "s", Events: []Event{{Key: "k", Data: []byte("x")}}}); err != nil {
		t.Fatal(err)
	}
	p, err := l.OpenCursor("parked", "d")
	if err != nil {
		t.Fatal(err)
	}
	c := l.committer
	c.leader <- struct{}{}
	p.mu.Lock()
	p.dirtyLocked()
	p.mu.Unlock()
	g := &commitGroup{}
	c.collectCursors(g)
	p.Close()
	if len(g.cursors) != 1 || l.deletions.need() == 0 {
		t.Errorf("got %d cursors to store, %d bytes needed for deletions, want the cursor in both", len(g.cursors), l.deletions.need())
	}
	if err := c.commit(g); err != nil {
		t.Error(err)
	}
	<-c.leader
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(t.Context(), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Cursors("parked"); len(got) > 0 {
		t.Errorf("got %d cursors after a restart, want none", len(got))
	}
}

// A commit that is rejected leaves the deletions to a later one.
func TestDeletions_OfARejectedCommitAreKept(t *testing.T) {
	l, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Append(t.Context(), &Batch{Stream: "s", Events: []Event{{Key: "k", Data: []byte("x")}}}); err != nil {
		t.Fatal(err)
	}
	p, err := l.OpenCursor("parked", "d")
	if err != nil {
		t.Fatal(err)
	}
	c := l.committer
	c.leader <- struct{}{}
	p.Close()
	l.opts.beforeCommit = func() error { return &segfile.CommitError{Err: syscall.ENOSPC, Harmless: true} }
	if err := c.commit(&commitGroup{}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	l.opts.beforeCommit = nil
	if l.deletions.need() == 0 {
		t.Error("the deletion is lost")
	}
	<-c.leader
}
