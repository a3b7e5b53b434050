package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing/synctest"

	"github.com/standpipe/standpipe/wal"
)

// readSome reads random lanes from a random offset on.
func (m *model) readSome() {
	name := m.someStream()
	s := m.streams[name]
	if s == nil {
		return
	}
	m.compare(name, s, 1+m.rand.Uint64N(uint64(len(s.events))+1), wal.LaneSet(m.rand.Uint64()), 1+m.rand.IntN(100_000))
}

// compare reads to the end. It checks that each event that some cursor has not settled is there once, in order and
// exact, and that each event read is in the model.
func (m *model) compare(name string, s *modelStream, from uint64, lanes wal.LaneSet, limit int) {
	next := from
	for {
		chunk, err := m.log.Read(name, next, lanes, limit)
		if err != nil {
			m.t.Fatal(err)
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			m.missing(name, s, next, e.Offset, lanes)
			if want := &s.events[e.Offset-1]; !sameEvent(e, want) || !lanes.Has(e.Lane) {
				m.t.Fatalf("%s %d: got %+v, want %+v", name, e.Offset, e, want)
			}
			next = e.Offset + 1
		}
		m.missing(name, s, next, chunk.Next, lanes)
		next = chunk.Next
		if chunk.End {
			break
		}
	}
	if want := uint64(len(s.events)) + 1; next != max(want, from) {
		m.t.Fatalf("%s: read to %d, want %d", name, next, want)
	}
}

// missing checks that no destination waits for an event of [from, to) in these lanes, since none of them was read.
func (m *model) missing(name string, s *modelStream, from, to uint64, lanes wal.LaneSet) {
	for offset := from; offset < to; offset++ {
		if !lanes.Has(wal.LaneOf(s.events[offset-1].Key)) {
			continue
		}
		for destination, p := range inOrder(s.places) {
			if p.parked && !p.done[offset] {
				m.learnDropped(s, p)
			}
			if !p.done[offset] {
				m.t.Fatalf("%s %d was not read, and %s waits for it", name, offset, destination)
			}
		}
		if len(s.places) == 0 && !aged(name) && m.opts.OnFull == wal.Reject {
			m.t.Fatalf("%s %d was not read, and no destination has settled it", name, offset)
		}
	}
}

func sameEvent(got, want *wal.Event) bool {
	return got.Key == want.Key && bytes.Equal(got.Data, want.Data) && got.Time == want.Time &&
		fmt.Sprint(got.Attributes) == fmt.Sprint(want.Attributes)
}

// check compares the whole log with the model.
func (m *model) check() {
	synctest.Wait()
	m.drop()
	for name, s := range inOrder(m.streams) {
		m.compare(name, s, 1, wal.AllLanes, 1<<20)
		m.compareRetained(name, s)
		var appended wal.Count
		for i := range s.events {
			appended.Add(wal.Count{Events: 1, Bytes: uint64(len(s.events[i].Data))})
		}
		if got, want := m.log.Next(name), appended.Events+1; got != want {
			m.t.Errorf("%s: next is %d, want %d", name, got, want)
		}
		for destination, p := range inOrder(s.places) {
			m.checkCursor(name+"/"+destination, p, appended)
		}
	}
	if err := m.log.Sync(context.Background()); err != nil { // no segment is being truncated when Sync returns
		m.t.Fatal(err)
	}
	synctest.Wait()
	files, err := filepath.Glob(filepath.Join(m.opts.Dir, "wal", "*.seg"))
	st := m.log.Stat()
	if ready := len(files) - st.Segments - st.RetainedSegments; err != nil || ready < 0 || ready > 1 || st.Bytes+st.RetainedBytes > st.MaxBytes {
		m.t.Errorf("got %d files %v, stat %+v", len(files), files, st)
	}
}

func (m *model) checkCursor(name string, p *modelCursor, appended wal.Count) {
	st := p.place.Stat()
	want := p.settled.Delivered.Plus(p.settled.Dead).Plus(p.dropped).Plus(p.missing).Plus(p.missed).Plus(p.forgot)
	if st.Appended != appended || st.Delivered != p.settled.Delivered || st.Dead != p.settled.Dead ||
		st.Dropped[wal.DroppedParked] != p.missed || st.Dropped[wal.DroppedForgotten] != p.forgot || droppedByPolicy(st) != p.dropped || st.Dropped[wal.DroppedAbsent] != p.missing || st.Dropped[wal.DroppedCorrupt].Events > 0 {
		m.t.Errorf("%s: got %+v, want %+v appended, %+v, dropped %+v, absent %+v, missed %+v, forgotten %+v",
			name, st, appended, p.settled, p.dropped, p.missing, p.missed, p.forgot)
	}
	if got := appended.Sub(want); st.Pending != got || st.Pending.Events != appended.Events-uint64(len(p.done)) {
		m.t.Errorf("%s: got %+v pending, want %+v; %d settled", name, st.Pending, got, len(p.done))
	}
}
