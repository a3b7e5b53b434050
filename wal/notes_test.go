package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
	"github.com/standpipe/standpipe/wal/internal/boltpage"
	"github.com/standpipe/standpipe/wal/internal/digest"
	"github.com/standpipe/standpipe/wal/internal/lastcommit"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// notedLog is a log of one segment with numbered batches of three events. It has the file of the segment before and after
// each commit.
func notedLog(t *testing.T, r *rand.Rand, batches int, segmentSize int64) (dir string, commits []sectorCommit) {
	t.Helper()
	dir = t.TempDir()
	var x recorder
	l := open(t, x.options(wal.Options{Dir: dir, SegmentSize: segmentSize}))
	_, err := l.OpenCursor("s", "d")
	must(t, err)
	for i := range batches {
		_, err := numbered(l, fmt.Sprint("p", i%3), uint64(1+i/3*3), 3, 1+r.IntN(2000))
		must(t, err)
	}
	must(t, l.Close())
	return dir, x.commits
}

// notedBlock is a block of a segment that has notes.
type notedBlock struct {
	number uint64
	value  []byte
	tail   int // where the notes begin in value
}

// notedBlocks returns the blocks with notes in the file.
func notedBlocks(t *testing.T, path string) (blocks []notedBlock) {
	t.Helper()
	must(t, boltpage.View(path, segment.FileFaults{}, func(s *boltpage.Snapshot) error {
		for number := uint64(1); ; number++ {
			v, err := s.Value(segment.BucketBlocks, binary.BigEndian.AppendUint64(nil, number))
			if err != nil || v == nil {
				return err
			}
			if segment.Noted(v) {
				b, _ := segment.PeekBlock(1, segment.NumberKey(number), v)
				blocks = append(blocks, notedBlock{number, bytes.Clone(v), segment.HeaderLength(v) + len(b.Frames)})
			}
		}
	}))
	return blocks
}

// rot returns the block with a flipped bit in its notes.
func (b *notedBlock) rot(r *rand.Rand) []byte {
	bad := bytes.Clone(b.value)
	bad[b.tail+r.IntN(len(bad)-b.tail)] ^= byte(1 << r.IntN(8))
	return bad
}

// A fault of the disk in the notes of producers costs the notes of one block at most. Every event stays readable, and each
// producer may continue.
func TestNotes_DamageCostsNoEvent(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, segmentSize := range []int64{withSmall, withoutSmall} {
		damageNotes(t, r, segmentSize)
	}
}

func damageNotes(t *testing.T, r *rand.Rand, segmentSize int64) {
	t.Helper()
	const batches = 39
	dir, commits := notedLog(t, r, batches, segmentSize)
	path := filepath.Join(dir, "wal", sectorSegment)
	confirmed, err := os.ReadFile(path)
	must(t, err)
	blocks := notedBlocks(t, path)
	if len(blocks) < 10 {
		t.Fatalf("got %d blocks with notes, want at least 10", len(blocks))
	}
	var last []notedBlock // those that the commit before the last has too
	for _, b := range blocks {
		if bytes.Contains(commits[len(commits)-1].before, b.value) {
			last = append(last, b)
		}
	}
	for round := range 16 {
		image, block := confirmed, blocks[r.IntN(len(blocks))]
		if round%2 == 1 {
			image, block = commits[len(commits)-1].after, last[r.IntN(len(last))]
		}
		image = bytes.ReplaceAll(image, block.value, block.rot(r))
		copied := t.TempDir()
		copyDir(t, copied, dir)
		must(t, os.WriteFile(filepath.Join(copied, "wal", sectorSegment), image, 0o600))
		checkRottenNotes(t, copied, batches)
	}

	// In a copied log, producers may leave sequences out anyway. So the notes of the last batch are damaged in the log itself.
	block := blocks[len(blocks)-1]
	must(t, os.WriteFile(path, bytes.ReplaceAll(confirmed, block.value, block.rot(r)), 0o600))
	checkRottenNotes(t, dir, batches)
}

// checkRottenNotes checks a log of that many batches with a block whose notes are damaged.
func checkRottenNotes(t *testing.T, dir string, batches int) {
	t.Helper()
	events := 3 * batches
	report, err := inspect.Verify(t.Context(), dir, nil)
	must(t, err)
	if len(report.Damage) != 1 || !strings.Contains(report.Damage[0].Reason, "notes") || report.Events.Events != uint64(events) {
		t.Errorf("got damage %v, and %d events, want damaged notes and %d events", report.Damage, report.Events.Events, events)
	}
	for range 2 {
		l := open(t, wal.Options{Dir: dir, SegmentSize: 4 << 20})
		aside, err := l.SetAside()
		must(t, err)
		if got := readAll(t, l, "s", 1, wal.AllLanes); len(got) != events || len(aside) > 0 {
			t.Fatalf("got %d events, and %v set aside, want %d events", len(got), aside, events)
		}
		for p := range 3 {
			if _, err := numbered(l, fmt.Sprint("p", p), uint64(1+events/3), 3, 1); err != nil {
				t.Errorf("a producer cannot continue: %v", err)
			}
		}
		events += 9
		must(t, l.Close())
	}
}

// Damaged notes do not keep Open from the last whole commit: if the power fails during a commit, any subset of the sectors that
// it wrote gives that commit or the one before.
func TestNotes_DamageHidesNoTornCommit(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	reverted := 0
	for _, segmentSize := range []int64{withSmall, withoutSmall} {
		reverted += tearDamagedNotes(t, r, segmentSize)
	}
	if reverted == 0 {
		t.Error("no commit was torn")
	}
}

func tearDamagedNotes(t *testing.T, r *rand.Rand, segmentSize int64) (reverted int) {
	t.Helper()
	dir, commits := sectorLogOf(t, r, 60, segmentSize)
	blocks := notedBlocks(t, filepath.Join(dir, "wal", sectorSegment))
	path := filepath.Join(t.TempDir(), sectorSegment)
	check := func(image []byte) (entries digest.Totals, torn bool) {
		must(t, os.WriteFile(path, image, 0o600))
		found, err := lastcommit.Check(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		return found.Blocks.Plus(found.Rest.Totals), found.Torn != 0
	}
	for _, c := range commits[len(commits)-20:] {
		block := &blocks[0]
		for i := range blocks {
			if bytes.Contains(c.before, blocks[i].value) && r.IntN(4) == 0 {
				block = &blocks[i]
			}
		}
		bad := block.rot(r)
		c.before, c.after = bytes.ReplaceAll(c.before, block.value, bad), bytes.ReplaceAll(c.after, block.value, bad)
		before, _ := check(c.before)
		after, torn := check(c.after)
		if torn {
			t.Fatal("the commit is not whole")
		}
		if after == before {
			continue // a checkpoint that was stored again
		}
		changed := c.changed(512)
		for range 30 {
			image, most := bytes.Clone(c.after), 1+r.IntN(4)
			for _, at := range changed {
				if r.IntN(most) == 0 {
					copy(image[at:], c.sector(c.before, at, 512))
				}
			}
			got, torn := check(image)
			if torn {
				reverted++
			}
			if got != before && got != after {
				t.Fatalf("got entries %v, want %v or %v", got, before, after)
			}
		}
	}
	return reverted
}
