package ranged_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// memory is a log and a cursor in memory. A copy of the cursor stands for the disk.
type memory struct {
	t *testing.T

	mu     sync.Mutex
	events []wal.Event // the one at index i has the offset i+1
	bytes  uint64
	grown  chan struct{}
	full   bool
	floor  wal.Floor
	cursor position
	disk   position
	faults func() bool

	held    func(offset uint64) bool // whether the destination holds an event
	dropped map[uint64]bool
	dead    map[uint64]bool
}

// position is the durable part of a cursor.
type position struct {
	lanes  [wal.Lanes]wal.Progress
	ledger wal.Ledger
	state  []byte
}

func (p position) clone() position {
	for i := range p.lanes {
		p.lanes[i].Settled = slices.Clone(p.lanes[i].Settled)
	}
	dropped := make(map[string]wal.Count)
	for reason, c := range p.ledger.Dropped {
		dropped[reason] = c
	}
	p.ledger.Dropped, p.state = dropped, slices.Clone(p.state)
	return p
}

func newMemory(t *testing.T) *memory {
	m := &memory{t: t, grown: make(chan struct{}), faults: func() bool { return false },
		held: func(uint64) bool { return true }, dropped: make(map[uint64]bool), dead: make(map[uint64]bool)}
	for i := range m.cursor.lanes {
		m.cursor.lanes[i].Checkpoint = 1
	}
	m.disk = m.cursor.clone()
	return m
}

func (m *memory) append(key string, data []byte) (offset uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, wal.Event{Offset: uint64(len(m.events)) + 1, Lane: wal.LaneOf(key), Key: key, Data: data})
	m.bytes += uint64(len(data))
	m.wakeLocked()
	return uint64(len(m.events))
}

func (m *memory) wakeLocked() {
	close(m.grown)
	m.grown = make(chan struct{})
}

// raise raises the floor.
func (m *memory) raise(f wal.Floor, full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.floor = wal.Floor{Age: max(m.floor.Age, f.Age), Full: max(m.floor.Full, f.Full)}
	m.full = full
	m.wakeLocked()
}

// crash loses everything that is not on the disk.
func (m *memory) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor = m.disk.clone()
	for i := range m.events {
		if e := &m.events[i]; !m.cursor.lanes[e.Lane].Done(e.Offset) {
			delete(m.dropped, e.Offset)
			delete(m.dead, e.Offset)
		}
	}
}

func (m *memory) Read(_ string, from uint64, _ wal.LaneSet, limit int) (wal.Chunk, error) {
	if m.faults() {
		return wal.Chunk{Next: from}, errors.New("the disk is slow today")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := wal.Chunk{Next: from}
	for ; c.Next <= uint64(len(m.events)) && limit > 0; c.Next++ {
		e := m.events[c.Next-1]
		limit -= e.Memory()
		c.Events = append(c.Events, e)
	}
	c.End = c.Next > uint64(len(m.events))
	return c, nil
}

func (m *memory) Lose(_ *wal.CorruptError, from uint64, _ *wal.Held) func() (uint64, error) {
	return func() (uint64, error) { return from, nil }
}

func (m *memory) Next(string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.events)) + 1
}

func (m *memory) Grown(string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.grown
}

func (m *memory) Flow() uint64 { return m.Appended("").Bytes }

func (m *memory) Appended(string) wal.Count {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wal.Count{Events: uint64(len(m.events)), Bytes: m.bytes}
}

func (m *memory) Full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full
}

func (m *memory) Sync(ctx context.Context) error {
	time.Sleep(time.Millisecond)
	if m.faults() {
		return errors.New("no space")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = m.cursor.clone()
	return ctx.Err()
}

func (m *memory) Stream() string    { return "s" }
func (m *memory) Name() string      { return "d" }
func (m *memory) Keep(func([]byte)) {}
func (m *memory) log() ranged.Log   { return memoryLog{m} }
func (m *memory) Put(d deadletter.Letter) error {
	if m.faults() {
		return errors.New("no room for dead letters")
	}
	return nil
}

func (m *memory) Lanes() [wal.Lanes]wal.Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursor.clone().lanes
}

func (m *memory) State() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.cursor.state)
}

func (m *memory) Floor() wal.Floor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.floor
}

// Settle checks that the step counts exactly the events that it settles, and that the destination holds the events that it
// counts as delivered.
func (m *memory) Settle(step wal.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.cursor.clone()
	for lane, p := range step.Lanes {
		if p.Checkpoint < before.lanes[lane].Checkpoint {
			m.t.Errorf("lane %d goes back from %d to %d", lane, before.lanes[lane].Checkpoint, p.Checkpoint)
		}
		if p.Checkpoint > uint64(len(m.events))+1 {
			m.t.Errorf("lane %d goes to %d, beyond the log", lane, p.Checkpoint)
		}
		m.cursor.lanes[lane] = p.With(before.lanes[lane])
	}
	var newly wal.Count
	for i := range m.events {
		e := &m.events[i]
		if !m.cursor.lanes[e.Lane].Done(e.Offset) || before.lanes[e.Lane].Done(e.Offset) {
			continue
		}
		newly.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		switch {
		case step.Add.Delivered.Events > 0:
			if !m.held(e.Offset) {
				m.t.Errorf("event %d is settled as delivered, and the destination does not hold it", e.Offset)
			}
		case step.Add.Dead.Events > 0:
			m.dead[e.Offset] = true
		default:
			m.dropped[e.Offset] = true
			if e.Offset >= m.floor.Offset() {
				m.t.Errorf("event %d is dropped, and the floor is %d", e.Offset, m.floor.Offset())
			}
		}
	}
	if got := step.Add.Settled(); got != newly {
		m.t.Errorf("a step counts %+v, and settles %+v: %+v", got, newly, step.Add)
	}
	l := &m.cursor.ledger
	l.Delivered.Add(step.Add.Delivered)
	l.Dead.Add(step.Add.Dead)
	for reason, c := range step.Add.Dropped {
		l.Drop(reason, c)
	}
	l.Requests += step.Add.Requests
	if step.State != nil {
		m.cursor.state = slices.Clone(step.State)
	}
	return nil
}

// memoryLog and memoryCursor have the two methods of one name.
type memoryLog struct{ *memory }

func (l memoryLog) Stat() wal.Stat { return wal.Stat{} }

type memoryCursor struct{ *memory }

func (c memoryCursor) Stat() wal.CursorStat {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := wal.CursorStat{Ledger: c.cursor.clone().ledger, Appended: wal.Count{Events: uint64(len(c.events)), Bytes: c.bytes}}
	st.Pending = st.Appended.Beyond(st.Settled())
	return st
}

// store is a destination that survives crashes of the agent. It holds objects, each with the events of a range.
type store struct {
	t  *testing.T
	mu sync.Mutex

	objects    map[string][]uint64 // by key, without If-None-Match's losers
	wrote      map[uint64]int      // how often an event was stored
	checkpoint uint64              // of kind transactions
	poison     map[uint64]bool
	requests   int
}

func newStore(t *testing.T) *store {
	return &store{t: t, objects: make(map[string][]uint64), wrote: make(map[uint64]int), checkpoint: 1, poison: make(map[uint64]bool)}
}

func (s *store) holds(offset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrote[offset] > 0
}

// put stores an object unless its key exists.
func (s *store) put(key string, events []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if was, exists := s.objects[key]; exists {
		if !slices.Equal(was, events) {
			s.t.Errorf("object %s has the events %v, and another has %v", key, was, events)
		}
		return
	}
	s.objects[key] = slices.Clone(events)
	for _, offset := range events {
		s.wrote[offset]++
	}
	s.checkpoint = max(s.checkpoint, events[len(events)-1]+1)
}

// fault is the fault of a call.
type fault struct {
	err     *ranged.Error
	partial bool          // an Add adds some events before it fails
	stored  bool          // a Commit delivers the range although it fails
	delay   time.Duration // of the call
	hang    bool          // until the call is cut off
	deaf    time.Duration // the call returns so long after it was cut off
}

// sink is a Sink on a store. transactions: the store has the checkpoint, and Seal has no state.
type sink struct {
	t            *testing.T
	store        *store
	transactions bool
	limit        int           // events of a range
	age          time.Duration // of a range; 0: it is never due
	fault        func(call string) fault

	busy      sync.Mutex // a call is under way
	recovered bool
	aborted   bool
	began     time.Time
	events    []uint64
	sealed    bool
	state     []byte                  // of the sealed range
	synced    func(state []byte) bool // whether the state is on the disk
}

// sealedState is the state of a sealed range.
type sealedState struct {
	Key  string
	Next uint64
}

func (s *sink) Shape() shipper.Shape { return shipper.Shape{MaxRecord: 1 << 20, BilledStep: 1} }

// enter checks that calls do not overlap, and waits for the fault's delay.
func (s *sink) enter(ctx context.Context, call string) (f fault, leave func()) {
	if !s.busy.TryLock() {
		s.t.Errorf("%s is called during another call", call)
	}
	f = s.fault(call)
	wait := time.After(f.delay)
	if f.hang {
		wait = nil
	}
	select {
	case <-wait:
	case <-ctx.Done():
		time.Sleep(f.deaf)
		if f.deaf > 0 && f.stored { // it succeeds all the same
			f.err = nil
			return f, s.busy.Unlock
		}
		f.err = &ranged.Error{Error: shipper.Error{Class: shipper.Transient, Code: shipper.CodeTimeout, Record: -1}}
		f.partial, f.stored = false, f.hang && f.stored
	}
	return f, s.busy.Unlock
}

func (s *sink) Recover(ctx context.Context, from uint64, state []byte) (uint64, *shipper.Error) {
	f, leave := s.enter(ctx, "recover")
	defer leave()
	if len(s.events) > 0 && !s.aborted {
		s.t.Error("Recover before Abort")
	}
	if f.err != nil {
		return 0, &f.err.Error
	}
	s.recovered, s.events, s.sealed = true, nil, false
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.transactions {
		if state != nil {
			s.t.Errorf("got state %q, want none", state)
		}
		return max(from, s.store.checkpoint), nil
	}
	if state == nil {
		return from, nil
	}
	var sealed sealedState
	if err := json.Unmarshal(state, &sealed); err != nil {
		s.t.Error(err)
	}
	if s.store.objects[sealed.Key] == nil {
		return from, nil
	}
	return max(from, sealed.Next), nil
}

func (s *sink) Add(ctx context.Context, events []wal.Event) (n int, failure *ranged.Error) {
	f, leave := s.enter(ctx, "add")
	defer leave()
	if !s.recovered || s.sealed {
		s.t.Errorf("Add before Recover (%v) or after Seal (%v)", s.recovered, s.sealed)
	}
	s.aborted = false
	if f.err != nil && !f.partial {
		return 0, f.err
	}
	for i := range events {
		if len(s.events) == s.limit {
			return n, nil
		}
		if f.err != nil && i >= len(events)/2 {
			return n, f.err
		}
		offset := events[i].Offset
		if s.store.poison[offset] && offset%2 == 0 {
			return n, &ranged.Error{Rejected: []ranged.Rejection{{Offset: offset, Reason: "even"}}}
		}
		if len(s.events) > 0 && offset <= s.events[len(s.events)-1] {
			s.t.Errorf("event %d follows %d", offset, s.events[len(s.events)-1])
		}
		if len(s.events) == 0 {
			s.began = time.Now()
		}
		s.events = append(s.events, offset)
		n++
	}
	return n, nil
}

func (s *sink) Due() time.Time {
	if s.age == 0 || len(s.events) == 0 {
		return time.Time{}
	}
	return s.began.Add(s.age)
}

func (s *sink) Seal() []byte {
	if !s.busy.TryLock() {
		s.t.Error("Seal is called during another call")
	}
	defer s.busy.Unlock()
	if s.sealed || len(s.events) == 0 {
		s.t.Errorf("Seal of a range of %d events, sealed: %v", len(s.events), s.sealed)
	}
	s.sealed = true
	if s.transactions {
		return nil
	}
	state, err := json.Marshal(sealedState{s.key(), s.events[len(s.events)-1] + 1})
	if err != nil {
		s.t.Error(err)
	}
	s.state = state
	return state
}

func (s *sink) key() string { return fmt.Sprint(s.events[0]) }

func (s *sink) Commit(ctx context.Context) (ranged.Outcome, *ranged.Error) {
	f, leave := s.enter(ctx, "commit")
	defer leave()
	if !s.sealed {
		s.t.Error("Commit before Seal")
	}
	if !s.transactions && !s.synced(s.state) {
		s.t.Errorf("Commit before the state %s is on the disk", s.state)
	}
	for _, offset := range s.events {
		if s.store.poison[offset] {
			return ranged.Outcome{}, &ranged.Error{Rejected: []ranged.Rejection{{Offset: offset, Reason: "odd"}}}
		}
	}
	if f.err != nil && !f.stored {
		return ranged.Outcome{}, f.err
	}
	s.store.put(s.key(), s.events)
	if f.err != nil {
		return ranged.Outcome{}, f.err
	}
	o := ranged.Outcome{Requests: 1, Records: len(s.events), Code: "ok"}
	s.recovered, s.events, s.sealed = true, nil, false
	return o, nil
}

func (s *sink) Abort(ctx context.Context) {
	_, leave := s.enter(ctx, "abort")
	defer leave()
	s.aborted, s.events, s.sealed = true, nil, false
}

func (s *sink) Close() error { return nil }

// random draws the faults of a sink.
func random(r *rand.Rand, share float64, deaf bool) func(string) fault {
	var mu sync.Mutex
	return func(call string) (f fault) {
		mu.Lock()
		defer mu.Unlock()
		f.delay = time.Duration(r.IntN(40)) * time.Millisecond
		if r.Float64() >= share {
			return f
		}
		f.hang = r.IntN(4) == 0
		if deaf && r.IntN(3) == 0 {
			f.deaf = time.Duration(r.IntN(3000)) * time.Millisecond
		}
		f.err = &ranged.Error{Error: shipper.Error{Class: shipper.Class(r.IntN(3)), Code: "drawn", Record: -1}}
		f.partial, f.stored, f.err.Restart = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
		return f
	}
}
