package wal_test

import (
	"time"

	"github.com/standpipe/standpipe/wal"
)

// long is a retention that lasts for all of a history.
const long = 1000 * time.Hour

// retain changes the retention of the open log.
func (m *model) retain() {
	m.opts.Retain = long - m.opts.Retain
	setLimits(m.t, m.log, wal.Limits{MaxSize: m.opts.MaxSize, OnFull: m.opts.OnFull, Retain: m.opts.Retain})
	m.readable = nil
}

// compareRetained checks that History.Read returns each event that Read returns, and exact ones only. While the log retains
// segments and has far more room than a history fills, it checks that no event is gone since the last check.
func (m *model) compareRetained(name string, s *modelStream) {
	there := make(map[uint64]bool)
	for next := uint64(1); ; {
		chunk, err := wal.History{Log: m.log}.Read(name, next, wal.AllLanes, 1<<20)
		if err != nil {
			m.t.Fatal(err)
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			if want := &s.events[e.Offset-1]; !sameEvent(e, want) || e.Offset < next {
				m.t.Fatalf("%s %d: got %+v, want %+v", name, e.Offset, e, want)
			}
			there[e.Offset], next = true, e.Offset+1
		}
		if next = chunk.Next; chunk.End {
			break
		}
	}
	for next, end := uint64(1), false; !end; {
		chunk, err := m.log.Read(name, next, wal.AllLanes, 1<<20)
		if err != nil {
			m.t.Fatal(err)
		}
		for i := range chunk.Events {
			if e := &chunk.Events[i]; !there[e.Offset] && m.opts.Retain > 0 {
				m.t.Fatalf("%s %d: Read returns it, and History.Read does not", name, e.Offset)
			}
		}
		next, end = chunk.Next, chunk.End
	}
	if m.opts.MaxSize < 64<<20 || m.opts.Retain == 0 {
		return
	}
	for offset := range m.readable[name] {
		if !there[offset] {
			m.t.Fatalf("%s %d: it was retained, and is gone", name, offset)
		}
	}
	if m.readable == nil {
		m.readable = make(map[string]map[uint64]bool)
	}
	m.readable[name] = there
}
