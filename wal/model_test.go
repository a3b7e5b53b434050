package wal_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

var (
	modelRuns = flag.Int("model.runs", 8, "how many histories the model test plays")
)

// TestModel_LogBehavesLikeASlice plays random histories on a log and on a slice, and compares the two.
func TestModel_LogBehavesLikeASlice(t *testing.T) {
	seed := draw.Seed(t)
	runs := *modelRuns
	if testing.Short() {
		runs = min(runs, 3)
	}
	for i := range uint64(runs) {
		t.Run(fmt.Sprint("seed=", seed+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playModel(t, seed+i, 150) })
		})
	}
}

func playModel(t *testing.T, seed uint64, steps int) {
	m := newModel(t, seed)
	m.open(t.TempDir())
	for range steps {
		m.step()
		if t.Failed() {
			break
		}
	}
	m.check()
	m.reopen()
	m.check()
	m.settleRest()
	m.check()
	if err := m.log.Close(); err != nil {
		t.Error(err)
	}
}

// model is the expected content of the log.
type model struct {
	t    *testing.T
	rand *rand.Rand
	opts wal.Options
	log  *wal.Log

	noSpace *atomic.Bool // the next commit finds no space on the disk

	streams   map[string]*modelStream
	producers map[string]*modelProducer
	readable  map[string]map[uint64]bool // the events that the last check found in the history, and that must stay
}

type modelStream struct {
	events []wal.Event // index i has offset i+1
	places map[string]*modelCursor
}

// modelCursor tracks which events the destination has settled, and which of these settlements are known to be on disk.
type modelCursor struct {
	place   *wal.Cursor
	parked  bool        // no shipper owns it
	left    bool        // it was parked with Park: it gets no new events
	known   bool        // the cursor is on disk
	stuck   wal.LaneSet // the lanes that lag behind
	done    map[uint64]bool
	synced  map[uint64]bool // events that were done when the last Sync returned
	lost    map[uint64]bool // done and not delivered
	absent  map[uint64]bool // gone before the cursor was created
	settled wal.Ledger      // Delivered and Dead
	dropped wal.Count       // for their age or to free space
	missing wal.Count       // absent
	missed  wal.Count       // appended while it was parked
	forgot  wal.Count       // dropped by Forget
}

// add adds stored events. Those that are appended while a destination is parked count as dropped for it.
func (s *modelStream) add(events []wal.Event) {
	for i := range events {
		s.events = append(s.events, events[i])
		for _, p := range s.places {
			if p.left {
				p.lose(uint64(len(s.events)))
				p.missed.Add(countOf(&events[i]))
			}
		}
	}
}

func (p *modelCursor) lose(offset uint64) { p.done[offset], p.lost[offset] = true, true }

// modelProducer is a producer that numbers its batches.
type modelProducer struct {
	stream string
	next   uint64
	sent   []modelBatch
}

type modelBatch struct{ sequence, first, count uint64 }

func newModel(t *testing.T, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{
		t: t, rand: r, noSpace: new(atomic.Bool),
		opts: wal.Options{
			MaxSize: []int64{2 << 20, 12 << 20, 64 << 20}[r.IntN(3)], OnFull: []wal.OnFull{wal.Reject, wal.DropOldest}[r.IntN(2)],
			SegmentSize:  []int64{64 << 10, 256 << 10, 1 << 20}[r.IntN(3)],
			CommitLinger: []time.Duration{0, 0, time.Millisecond}[r.IntN(3)],
			Retain:       []time.Duration{0, long}[r.IntN(2)],
		},
		streams: make(map[string]*modelStream), producers: make(map[string]*modelProducer),
	}
	return m
}

func (m *model) open(dir string) {
	m.opts.Dir = dir
	m.opts = m.opts.WithFaults(func() error {
		if m.noSpace.Swap(false) {
			return wal.ErrNoSpace
		}
		return nil
	}, func() error { return checkDigest(dir) })
	m.opts = m.opts.Rewriting()
	log, err := wal.Open(context.Background(), m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.log = log
	m.t.Cleanup(func() { log.Close() })
	log.SetPolicy(func(stream string) wal.Policy {
		if aged(stream) {
			return wal.Policy{MaxAge: time.Hour}
		}
		return wal.Policy{}
	})
	for name, s := range inOrder(m.streams) {
		for destination, p := range inOrder(s.places) {
			if p.place = cursorNamed(log, name, destination); p.place == nil {
				if p.known && len(s.events) > 0 { // a cursor of an empty stream would begin again in the same way
					m.t.Fatalf("%s/%s is not known after a reopen", name, destination)
				}
				delete(s.places, destination) // the crash came before the cursor was on disk
				continue
			}
			if p.left {
				p.place.Park() // as an agent does at its start: the crash may have come before that was on disk
			}
			if p.parked {
				continue
			}
			if p.place, err = log.OpenCursor(name, destination); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// aged reports whether the stream's events are dropped after an hour.
func aged(stream string) bool { return stream == "stream0" || stream == "stream1" }

func cursorNamed(l *wal.Log, stream, destination string) *wal.Cursor {
	for _, p := range l.Cursors(stream) {
		if p.Name() == destination {
			return p
		}
	}
	return nil
}

func (m *model) step() {
	steps := []struct {
		weight int
		do     func()
	}{
		{40, m.append}, {8, m.resend}, {20, m.settle}, {10, m.readSome}, {5, m.sync},
		{2, m.reopen}, {2, m.crash}, {6, m.place}, {2, m.park}, {2, m.leave}, {1, m.forget}, {3, m.check}, {3, m.waitSettled}, {2, m.age}, {1, m.retain},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := m.rand.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.do()
			return
		}
	}
}

func (m *model) stream(name string) *modelStream {
	s := m.streams[name]
	if s == nil {
		s = &modelStream{places: make(map[string]*modelCursor)}
		m.streams[name] = s
	}
	return s
}

func (m *model) someStream() string { return fmt.Sprint("stream", m.rand.IntN(4)) }

func (m *model) event(stream string) wal.Event {
	sizes := []int{0, 1, 10, 100, 1000, 1000, 4050, 4096, 8100, 20_000}
	data := make([]byte, sizes[m.rand.IntN(len(sizes))])
	for i := range data {
		data[i] = byte(m.rand.Uint32())
	}
	e := wal.Event{Key: fmt.Sprint(stream, m.rand.IntN(100)), Data: data, Time: m.rand.Int64()}
	if m.rand.IntN(4) == 0 {
		e.Attributes = map[string]string{"a": fmt.Sprint(m.rand.IntN(10)), "": "x"}
	}
	return e
}

// append submits several batches at once and waits for all of them. A rejected batch leaves no trace.
func (m *model) append() {
	var all []*wal.Batch
	numbered := make(map[string]bool)
	for range 1 + m.rand.IntN(4) {
		b := &wal.Batch{Stream: m.someStream()}
		for range 1 + m.rand.IntN(12) {
			b.Events = append(b.Events, m.event(b.Stream))
		}
		if m.rand.IntN(3) == 0 {
			m.number(b, numbered)
		}
		all = append(all, b)
	}
	noSpace := m.rand.IntN(8) == 0
	m.noSpace.Store(noSpace)
	got, errs := m.submit(all)
	m.noSpace.Store(false)
	for i, b := range all {
		s := m.stream(b.Stream)
		if (m.opts.OnFull == wal.Reject || noSpace) && errors.Is(errs[i], wal.ErrFull) {
			continue
		}
		want := wal.Appended{First: uint64(len(s.events)) + 1, Count: len(b.Events)}
		if errs[i] != nil || got[i] != want {
			m.t.Fatalf("append: got %+v, %v, want %+v", got[i], errs[i], want)
		}
		s.add(b.Events)
		if producer := m.producers[b.ProducerID]; producer != nil {
			producer.next += uint64(len(b.Events))
			producer.sent = append(producer.sent, modelBatch{b.ProducerSequence, got[i].First, uint64(got[i].Count)})
		}
	}
}

// submit stores the batches. While they wait for space, the destinations drop the events below their floors.
func (m *model) submit(all []*wal.Batch) (got []wal.Appended, errs []error) {
	got, errs = make([]wal.Appended, len(all)), make([]error, len(all))
	tickets, done := make([]*wal.Ticket, len(all)), make(chan struct{})
	go func() {
		defer close(done)
		for i, b := range all {
			tickets[i], errs[i] = m.log.Submit(context.Background(), b)
		}
		for i, t := range tickets {
			if t != nil {
				got[i], errs[i] = t.Wait(context.Background())
			}
		}
	}()
	for range 10_000 {
		select {
		case <-done:
			return got, errs
		case <-time.After(10 * time.Millisecond):
			m.drop()
		}
	}
	m.t.Fatalf("append: it waits for room for ever: %+v", m.log.Stat())
	return nil, nil
}

// number makes b the next batch of a producer, unless that producer already has a batch in numbered.
func (m *model) number(b *wal.Batch, numbered map[string]bool) {
	id := fmt.Sprint(b.Stream, "/", m.rand.IntN(3))
	if numbered[id] {
		return
	}
	numbered[id] = true
	p := m.producers[id]
	if p == nil {
		p = &modelProducer{stream: b.Stream, next: 1}
		m.producers[id] = p
	}
	b.ProducerID, b.ProducerSequence = id, p.next
}

// resend sends a stored batch again. The batch may have been truncated since.
func (m *model) resend() {
	for id, p := range m.producers {
		if len(p.sent) == 0 {
			continue
		}
		old := p.sent[m.rand.IntN(len(p.sent))]
		b := &wal.Batch{Stream: p.stream, ProducerID: id, ProducerSequence: old.sequence}
		b.Events = slices.Clone(m.streams[p.stream].events[old.first-1 : old.first-1+old.count])
		got, err := m.log.Append(context.Background(), b)
		if want := (wal.Appended{First: old.first, Count: int(old.count), Duplicate: true}); err != nil || got != want {
			m.t.Fatalf("resend: got %+v, %v, want %+v", got, err, want)
		}
		b.ProducerSequence = p.next + 1
		if _, err := m.log.Append(context.Background(), b); !errors.Is(err, wal.ErrSequence) {
			m.t.Fatalf("gap: got %v, want ErrSequence", err)
		}
		return
	}
}

// inOrder iterates in the order of the keys, so that a seed always gives the same history.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}
