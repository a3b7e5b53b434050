// Package walkit holds the kit of the tests of wal and wal/inspect: cursors that settle, and logs that are verified or
// damaged on the disk. Only tests import it. Helpers that the tests of other packages use too are in package testkit.
package walkit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// BoltPage is the page size of the files that the tests create, on machines with pages of 4 KiB.
const BoltPage = 4096

// Place returns the destination's cursor, and opens it if it is not open.
func Place(l *wal.Log, stream, destination string) (*wal.Cursor, error) {
	for _, p := range l.Cursors(stream) {
		if p.Name() == destination {
			return p, nil
		}
	}
	return l.OpenCursor(stream, destination)
}

// SettleAll settles all events of the stream at the cursor, and adds c to its delivered events.
func SettleAll(l *wal.Log, p *wal.Cursor, c wal.Count) {
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: l.Next(p.Stream())}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: c}})
}

// Sync syncs the log.
func Sync(t testing.TB, l *wal.Log) {
	t.Helper()
	if err := l.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Edit replaces a file by a changed copy, so that other links to the file keep the old bytes.
func Edit(t testing.TB, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = change(b)
	written := bytes.TrimRight(b, "\x00") // most of a small segment is a hole
	if err := errors.Join(os.Remove(path), os.WriteFile(path, written, 0o600), os.Truncate(path, int64(len(b)))); err != nil {
		t.Fatal(err)
	}
}

// Advance settles all events of the stream below next.
func Advance(t testing.TB, l *wal.Log, stream, destination string, next uint64) {
	t.Helper()
	p, err := Place(l, stream, destination)
	if err != nil {
		t.Fatal(err)
	}
	from := p.Stat().Checkpoint
	if from >= next {
		return
	}
	var c wal.Count
	for at := from; at < next; {
		chunk, err := l.Read(stream, at, wal.AllLanes, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range chunk.Events {
			if e.Offset < next {
				c.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
			}
		}
		at = chunk.Next
	}
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: next}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: c}})
}

// SettleLanes settles the events of each lane below the offset that next returns for it.
func SettleLanes(t testing.TB, l *wal.Log, stream, destination string, next func(lane uint8) uint64) {
	t.Helper()
	p, err := Place(l, stream, destination)
	testkit.Must(t, err)
	var c wal.Count
	for _, e := range testkit.ReadAll(t, l, stream, 1, wal.AllLanes) {
		if e.Offset < next(e.Lane) {
			c.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
	}
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: next(lane)}
	}
	p.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: c}})
}

// Verify returns the report of an inspection of the whole log.
func Verify(t testing.TB, dir string) *inspect.VerifyReport {
	t.Helper()
	report, err := inspect.Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// WantSound fails the test if the log is damaged.
func WantSound(t testing.TB, dir string) *inspect.VerifyReport {
	t.Helper()
	report := Verify(t, dir)
	for _, d := range report.Damage {
		t.Errorf("found damage in a sound log: %v", d)
	}
	return report
}

// SegmentFiles returns the paths of the log's segments, oldest first.
func SegmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := fs.Glob(os.DirFS(dir), "wal/*.seg") // for any name of dir
	if err != nil || len(files) == 0 {
		t.Fatalf("got segments %v, %v", files, err)
	}
	for i := range files {
		files[i] = filepath.Join(dir, files[i])
	}
	return files
}
