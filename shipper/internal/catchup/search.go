package catchup

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/standpipe/standpipe/wal"
)

// The newest events of a backlog's keys are searched backwards from its end. The search ends early when it has read
// searchBytes, or holds a quarter of the shipper's memory. Keys beyond that have their newest event among the rest.
const (
	searchBytes = 64 << 20
	searchShare = 4
	// window is the number of offsets that are read at a time, by reads of readBytes.
	window    = 4096
	readBytes = 1 << 20
	// MostKeys bounds the keys of a lane, since the lane's progress has to list the newest events apart from the rest.
	MostKeys = 32
)

// Source is the part of the log that a Search needs.
type Source interface {
	Read(stream string, from uint64, lanes wal.LaneSet, limit int) (wal.Chunk, error)
}

// Search finds the newest event of each key in [the lowest checkpoint, Until) that is not settled.
type Search struct {
	Source  Source
	Stream  string
	Settled [wal.Lanes]wal.Progress
	Until   uint64
	Memory  int          // of the shipper
	Stopped *atomic.Bool // it is to end early

	found []wal.Event
	held  int
	read  int // bytes
	keys  map[string]bool
	count [wal.Lanes]int // of keys
}

// Run returns the found events, in the order of their offsets.
func (s *Search) Run() []wal.Event {
	s.keys = make(map[string]bool)
	from := s.Until
	for i := range s.Settled {
		from = min(from, s.Settled[i].Checkpoint)
	}
	for end := s.Until; end > from && s.read < searchBytes && !s.Stopped.Load(); {
		begin := from
		if end-begin > window {
			begin = end - window
		}
		if !s.look(begin, end) {
			break
		}
		end = begin
	}
	slices.SortFunc(s.found, func(a, b wal.Event) int { return cmp.Compare(a.Offset, b.Offset) })
	return s.found
}

// look adds the newest events in [begin, end) of keys without later ones. It returns false if the search ends there.
func (s *Search) look(begin, end uint64) bool {
	newest, held := make(map[string]wal.Event), 0
	for begin < end {
		chunk, err := s.Source.Read(s.Stream, begin, wal.AllLanes, readBytes)
		if err != nil || s.Stopped.Load() {
			return false
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			s.read += len(e.Data)
			before, known := newest[e.Key]
			if e.Offset >= end || s.keys[e.Key] || !known && s.count[e.Lane] >= MostKeys {
				continue
			}
			if !known {
				s.count[e.Lane]++
			}
			held += e.Memory()
			if known {
				held -= before.Memory()
			}
			kept := clone(e)
			newest[kept.Key] = kept
			if s.held+held > s.Memory/searchShare {
				return false
			}
		}
		if begin = chunk.Next; chunk.End {
			break
		}
	}
	s.held += held
	for key, e := range newest {
		s.keys[key] = true
		if !s.Settled[e.Lane].Done(e.Offset) {
			s.found = append(s.found, e)
		}
	}
	return true
}

// clone returns a copy of an event that does not keep its block in memory.
func clone(e *wal.Event) wal.Event {
	c := *e
	c.Key, c.Data = strings.Clone(e.Key), bytes.Clone(e.Data)
	if e.Attributes != nil {
		c.Attributes = make(map[string]string, len(e.Attributes))
		for name, value := range e.Attributes {
			c.Attributes[strings.Clone(name)] = strings.Clone(value)
		}
	}
	return c
}
