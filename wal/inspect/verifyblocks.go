package inspect

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

// blocks reads all blocks of a segment, and its index.
func (v *verifying) blocks(ctx context.Context, f *segment.Pages, sealed bool) error {
	stored, err := f.Index(ctx)
	if corrupt := segment.AsCorrupt(err); corrupt != nil {
		v.damaged(corrupt)
	} else if err != nil {
		return err
	}
	missing := err == nil && stored == nil && sealed
	s := verifyingBlocks{verifying: v, file: f, stored: stored, found: segment.NewIndex(), checks: make(map[string]*blockCheck), lost: make(map[uint64]bool)}
	w := segment.BlockWalk{File: f, Visit: s.block, Bad: s.lose}
	if err := w.Run(ctx); err != nil {
		return err
	}
	if missing && len(s.found.Streams) > 0 { // compaction of settled events leaves no block and no index part
		v.damaged(&segment.CorruptError{File: f.Path, Reason: "the index is missing"})
	}
	s.finish()
	return nil
}

// verifyingBlocks reads and checks the blocks of one segment.
type verifyingBlocks struct {
	*verifying
	file    *segment.Pages
	stored  *segment.BlockIndex // nil: there is none, or it cannot be read
	found   *segment.BlockIndex
	checks  map[string]*blockCheck // by stream
	lost    map[uint64]bool        // numbers of blocks that found lacks and that were reported as damaged
	unknown bool                   // blocks were lost whose streams are unknown
}

func (v *verifying) tally(stream string) *tally {
	t := v.tallies[stream]
	if t == nil {
		stream = strings.Clone(stream)
		t = newTally(&loggedStream{name: stream})
		v.tallies[stream] = t
	}
	return t
}

func (s *verifyingBlocks) block(b *segment.Block) error {
	s.report.Blocks++
	s.tell()
	t := s.tally(b.Stream)
	c := s.checks[t.name]
	if c == nil {
		c = &blockCheck{}
		s.checks[t.name] = c
		if t.next() > b.First {
			s.fault(b, "it begins before %d, where an older segment ended", t.next())
		} else if t.broken {
			t.lose(segment.Run{First: t.next(), Next: b.First})
		}
		t.broken = false
	}
	switch {
	case c.next > b.First:
		s.fault(b, "it begins before %d, where the block before it ended", c.next)
		return nil
	case 0 < c.next && c.next < b.First && s.stored == nil: // with an index, compare reports the missing block
		if !s.unknown {
			s.fault(b, "the blocks before it are missing, from %d on", c.next)
		}
		t.lose(segment.Run{First: c.next, Next: b.First})
	}
	s.found.Add(b)
	if err := b.EachNote(func(*segment.Note) {}); err != nil {
		s.fault(b, "%v", err)
	}
	count, err := c.block(b, t)
	s.report.Events.Add(count)
	return err
}

func (s *verifyingBlocks) fault(b *segment.Block, format string, args ...any) {
	s.damaged(&segment.CorruptError{File: s.file.Path, Stream: strings.Clone(b.Stream), Offset: b.First, Reason: fmt.Sprintf(format, args...)})
}

// lose records blocks that cannot be read, and the streams that they belong to if those are known.
func (s *verifyingBlocks) lose(lost segment.LostBlocks, why *segment.CorruptError) {
	defer s.damaged(why)
	if b := &lost.Of; b.Stream != "" {
		t := s.tally(b.Stream)
		why.Stream = t.name
		t.lose(segment.Run{First: b.First, Next: b.Next()})
		s.lost[b.Number] = true
		if c := s.checks[t.name]; c != nil && c.next == b.First {
			c.next, c.bytes = b.Next(), b.Before+b.Bytes
		}
		return
	}
	if s.stored == nil {
		s.unknown = true
		return
	}
	for stream, parts := range s.stored.Streams {
		for i := range parts {
			for at := range parts[i].Places(0) {
				if lost.Numbers.First <= at.Number && at.Number < lost.Numbers.Next {
					s.tally(stream).lose(at.Run)
					s.lost[at.Number] = true
					why.Stream, why.Offset = stream, at.First
				}
			}
		}
	}
}

// finish compares the index with the blocks.
func (s *verifyingBlocks) finish() {
	if s.stored == nil {
		for _, t := range s.tallies {
			t.broken = s.unknown
		}
		return
	}
	streams := maps.Clone(s.stored.Streams)
	maps.Copy(streams, s.found.Streams)
	for _, stream := range segment.SortedKeys(streams) {
		s.compare(stream, s.stored.All(stream), s.found.All(stream))
	}
}

// compare reports blocks that are in the index and not in the segment, and the other way round.
func (s *verifyingBlocks) compare(stream string, stored, found []segment.BlockPlace) {
	for len(stored) > 0 || len(found) > 0 {
		switch {
		case len(stored) > 0 && len(found) > 0 && stored[0] == found[0]:
			stored, found = stored[1:], found[1:]
		case len(found) == 0 || len(stored) > 0 && stored[0].Number <= found[0].Number:
			s.miss(stream, stored[0])
			stored = stored[1:]
		default:
			s.damaged(&segment.CorruptError{File: s.file.Path, Stream: stream, Offset: found[0].First, Reason: "the index does not have the block"})
			found = found[1:]
		}
	}
}

func (s *verifyingBlocks) miss(stream string, at segment.BlockPlace) {
	if s.lost[at.Number] {
		return
	}
	s.tally(stream).lose(at.Run)
	s.damaged(&segment.CorruptError{File: s.file.Path, Stream: stream, Offset: at.First, Reason: "the block is missing that the index has"})
}
