package wal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// smallLog is a log with one segment, to which small events were appended, and which was not closed.
type smallLog struct {
	dir, path string
	log       *wal.Log
	events    []string
	settled   uint64
}

func newSmallLog(t *testing.T, r *rand.Rand, events int) *smallLog {
	t.Helper()
	s := &smallLog{dir: t.TempDir()}
	s.path = filepath.Join(s.dir, "wal", sectorSegment)
	s.log = open(t, wal.Options{Dir: s.dir, SegmentSize: 4 << 20})
	p, err := s.log.OpenCursor("s", "d")
	must(t, err)
	for i := range events {
		data := fmt.Sprintf("%06d", i) + strings.Repeat(string(rune('a'+r.IntN(26))), 20+r.IntN(600))
		appendOne(t, s.log, "s", "k", data)
		if s.events = append(s.events, data); r.IntN(3) == 0 {
			settleSome(t, s.log, p)
			sync(t, s.log)
		}
	}
	s.settled = p.Stat().Checkpoint
	return s
}

// crashed returns a copy of the log as a crash leaves it, with the segment changed by damage.
func (s *smallLog) crashed(t *testing.T, damage func(segment []byte)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	copyDir(t, dir, s.dir)
	path := filepath.Join(dir, "wal", sectorSegment)
	b, err := os.ReadFile(path)
	must(t, err)
	damage(b)
	must(t, os.WriteFile(path, b, 0o600))
	return dir
}

// After a crash the log has all events and the place of the destination, also those that only small commits hold. It goes on, and
// a second crash at once loses nothing either.
func TestSmall_CommitsAreThereAfterACrash(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 10 {
		s := newSmallLog(t, r, 1+r.IntN(60))
		dir := s.crashed(t, func([]byte) {})
		must(t, s.log.Close())
		wantSound(t, dir)
		for range 1 + r.IntN(3) {
			l := open(t, wal.Options{Dir: dir})
			got := readAll(t, l, "s", 1, wal.AllLanes)
			if len(got) != len(s.events) {
				t.Fatalf("got %d events, want %d", len(got), len(s.events))
			}
			for i, e := range got {
				if string(e.Data) != s.events[i] {
					t.Fatalf("event %d has %d other bytes", i, len(e.Data))
				}
			}
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			if got := p.Stat().Checkpoint; got < s.settled {
				t.Errorf("the destination is at %d, want %d", got, s.settled)
			}
			if r.IntN(2) == 0 {
				appendOne(t, l, "s", "k", "another")
				s.events = append(s.events, "another")
			}
			next := t.TempDir()
			copyDir(t, next, dir)
			must(t, l.Close())
			dir = next
		}
	}
}

// A checkpoint of so many destinations that they do not fit into a small commit stores all of them.
func TestSmall_CheckpointOfManyIsWhole(t *testing.T) {
	for more := range 3 { // of the small commits before it: one of these may use up the pages
		checkpointMany(t, more)
	}
}

func checkpointMany(t *testing.T, more int) {
	t.Helper()
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 4 << 20})
	const streams = 60
	places := make([]*wal.Cursor, streams)
	for i := range places {
		name := fmt.Sprint("stream", i)
		p, err := l.OpenCursor(name, "d")
		must(t, err)
		appendOne(t, l, name, "k", "x")
		places[i] = p
	}
	for range more {
		appendOne(t, l, "stream0", "k", "x")
	}
	for _, p := range places {
		settleTo(t, p, 2, wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 1}})
	}
	sync(t, l)
	crashed := t.TempDir()
	copyDir(t, crashed, dir)
	must(t, l.Close())
	l = open(t, wal.Options{Dir: crashed})
	for i := range places {
		p, err := l.OpenCursor(fmt.Sprint("stream", i), "d")
		must(t, err)
		if got := p.Stat().Checkpoint; got != 2 {
			t.Errorf("stream %d: the destination is at %d, want 2", i, got)
		}
	}
}

// A fault of the disk in a small commit costs its event at most. It does not look like a commit that a crash interrupted, also in the
// last one: no offset is used again.
func TestSmall_DamageCostsOneCommit(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 12 {
		s := newSmallLog(t, r, 5+r.IntN(30))
		bad := len(s.events) - 1
		if round%2 == 1 {
			bad = r.IntN(len(s.events))
		}
		frame := []byte(s.events[bad])
		dir := s.crashed(t, func(b []byte) {
			found := 0
			for at := bytes.Index(b, frame); at >= 0; at = bytes.Index(b, frame) {
				b[at+len(frame)/2] ^= 1
				found++
			}
			if found == 0 {
				t.Fatal("the event is not in the segment")
			}
		})
		must(t, s.log.Close())
		report, err := inspect.Verify(t.Context(), dir, nil)
		must(t, err)
		if len(report.Damage) != 1 || report.Events.Events != uint64(len(s.events)-1) {
			t.Errorf("event %d of %d: got damage %v and %d events", bad, len(s.events), report.Damage, report.Events.Events)
		}
		l := open(t, wal.Options{Dir: dir})
		if a := appendOne(t, l, "s", "k", "x"); a.First != uint64(len(s.events))+1 {
			t.Errorf("event %d of %d: the next one has the offset %d", bad, len(s.events), a.First)
		}
		must(t, l.Close())
	}
}
