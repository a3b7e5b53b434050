package wal

import (
	"context"
	"fmt"
	"maps"
	"strings"
)

// blocks reads all blocks of a segment, and its index.
func (v *verifying) blocks(ctx context.Context, f *segmentPages, sealed bool) error {
	stored, err := f.index(ctx)
	if corrupt := asCorrupt(err); corrupt != nil {
		v.damaged(corrupt)
	} else if err != nil {
		return err
	}
	missing := err == nil && stored == nil && sealed
	s := verifyingBlocks{verifying: v, file: f, stored: stored, found: newIndex(), checks: make(map[string]*blockCheck), lost: make(map[uint64]bool)}
	w := blockWalk{file: f, visit: s.block, bad: s.lose}
	if err := w.run(ctx); err != nil {
		return err
	}
	if missing && len(s.found.streams) > 0 { // a copy of a segment that was settled holds no block, and no part of an index
		v.damaged(&CorruptError{File: f.Path, Reason: "the index is missing"})
	}
	s.finish()
	return nil
}

// verifyingBlocks is the blocks of one segment being read.
type verifyingBlocks struct {
	*verifying
	file    *segmentPages
	stored  *blockIndex // nil: there is none, or none that can be read
	found   *blockIndex
	checks  map[string]*blockCheck // by stream
	lost    map[uint64]bool        // the numbers of blocks that found lacks and that were told as damage
	unknown bool                   // blocks were lost of which nobody knows whose they were
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

func (s *verifyingBlocks) block(b *block) error {
	s.report.Blocks++
	s.tell()
	t := s.tally(b.stream)
	c := s.checks[t.name]
	if c == nil {
		c = &blockCheck{}
		s.checks[t.name] = c
		if t.next() > b.first {
			s.fault(b, "it begins before %d, where an older segment ended", t.next())
		} else if t.broken {
			t.lose(Run{t.next(), b.first})
		}
		t.broken = false
	}
	switch {
	case c.next > b.first:
		s.fault(b, "it begins before %d, where the block before it ended", c.next)
		return nil
	case 0 < c.next && c.next < b.first && s.stored == nil: // otherwise the index tells
		if !s.unknown {
			s.fault(b, "the blocks before it are missing, from %d on", c.next)
		}
		t.lose(Run{c.next, b.first})
	}
	s.found.add(b)
	count, err := c.block(b, t)
	s.report.Events.Add(count)
	return err
}

func (s *verifyingBlocks) fault(b *block, format string, args ...any) {
	s.damaged(&CorruptError{s.file.Path, strings.Clone(b.stream), b.first, fmt.Sprintf(format, args...)})
}

// lose notes what can't be read, and whose it was if that can be told.
func (s *verifyingBlocks) lose(lost lostBlocks, why *CorruptError) {
	defer s.damaged(why)
	if b := &lost.of; b.stream != "" {
		t := s.tally(b.stream)
		why.Stream = t.name
		t.lose(Run{b.first, b.next()})
		s.lost[b.number] = true
		if c := s.checks[t.name]; c != nil && c.next == b.first {
			c.next, c.bytes = b.next(), b.before+b.bytes
		}
		return
	}
	if s.stored == nil {
		s.unknown = true
		return
	}
	for stream, parts := range s.stored.streams {
		for i := range parts {
			for at := range parts[i].places(0) {
				if lost.numbers.First <= at.number && at.number < lost.numbers.Next {
					s.tally(stream).lose(at.Run)
					s.lost[at.number] = true
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
	streams := maps.Clone(s.stored.streams)
	maps.Copy(streams, s.found.streams)
	for _, stream := range sortedKeys(streams) {
		s.compare(stream, s.stored.all(stream), s.found.all(stream))
	}
}

// compare tells of the blocks that the index has and that are not there, and the other way round.
func (s *verifyingBlocks) compare(stream string, stored, found []blockPlace) {
	for len(stored) > 0 || len(found) > 0 {
		switch {
		case len(stored) > 0 && len(found) > 0 && stored[0] == found[0]:
			stored, found = stored[1:], found[1:]
		case len(found) == 0 || len(stored) > 0 && stored[0].number <= found[0].number:
			s.miss(stream, stored[0])
			stored = stored[1:]
		default:
			s.damaged(&CorruptError{s.file.Path, stream, found[0].First, "the index does not have the block"})
			found = found[1:]
		}
	}
}

func (s *verifyingBlocks) miss(stream string, at blockPlace) {
	if s.lost[at.number] {
		return
	}
	s.tally(stream).lose(at.Run)
	s.damaged(&CorruptError{s.file.Path, stream, at.First, "the block is missing that the index has"})
}
