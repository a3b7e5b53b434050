package wal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

func (m *model) reopen() {
	synctest.Wait()
	m.drop()
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.sync0()
	m.open(m.opts.Dir)
}

// sync0 records that all settlements are on disk, as they are after a close or a sync.
func (m *model) sync0() {
	for _, s := range inOrder(m.streams) {
		for _, p := range inOrder(s.places) {
			p.known = true
			for offset := range p.done {
				p.synced[offset] = true
			}
		}
	}
}

// crash goes on with a copy of the directory in its present state on disk. All acked events are in it, and at least the
// settlements that were synced.
func (m *model) crash() {
	synctest.Wait()
	m.drop()
	to := copyInstant(m.t, m.opts.Dir)
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open(to)
	for _, s := range inOrder(m.streams) {
		for _, p := range inOrder(s.places) {
			m.learn(s, p)
		}
	}
}

// copyInstant copies a directory in its state between two commits. It copies again if a file changed meanwhile: if a
// checkpoint seals a segment during the copy, or a segment is made ready, the copy is in a state that no crash leaves.
func copyInstant(t *testing.T, from string) (to string) {
	t.Helper()
	for {
		before := changes(t, from)
		to = t.TempDir()
		copyDir(t, to, from)
		if maps.Equal(before, changes(t, from)) {
			return to
		}
	}
}

// changes returns the time of the last change of each file in a directory.
func changes(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	at := make(map[string]time.Time)
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if st, statErr := os.Stat(path); err == nil && statErr == nil {
			at[path] = st.ModTime()
		}
		return nil
	}))
	return at
}

// learn updates the model with the settlements that survived a crash.
func (m *model) learn(s *modelStream, p *modelCursor) {
	marks, parking := p.place.Lanes(), p.place.Stat().Parking
	for i := range s.events {
		offset := uint64(i + 1)
		mark := marks[wal.LaneOf(s.events[i].Key)]
		done := p.absent[offset] || mark.Done(offset) || parking.Next > 0 && offset >= parking.Next
		if p.synced[offset] && !done {
			m.t.Fatalf("event %d was settled and synced, and is not settled after a crash", offset)
		}
		if done && !p.done[offset] {
			m.t.Fatalf("event %d was not settled, and is after a crash", offset)
		}
		p.done[offset], p.synced[offset] = done, done
		if !done {
			delete(p.done, offset)
			delete(p.synced, offset)
			delete(p.lost, offset)
		}
	}
	st := p.place.Stat()
	p.known, p.settled, p.dropped = true, st.Ledger, droppedByPolicy(st)
	p.missed, p.forgot = st.Dropped[wal.DroppedParked], st.Dropped[wal.DroppedForgotten]
}

func copyDir(t testing.TB, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, writeSparse(filepath.Join(to, rel), data))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writeSparse skips pages of zeros, which are holes in the log's own files too.
func writeSparse(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var zeros [4096]byte
	for at := 0; at < len(data); at += len(zeros) {
		page := data[at:min(at+len(zeros), len(data))]
		if bytes.Equal(page, zeros[:len(page)]) {
			continue
		}
		if _, err := f.WriteAt(page, int64(at)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Truncate(int64(len(data))), f.Close())
}
