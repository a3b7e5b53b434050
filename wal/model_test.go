package wal_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "the model test's seed; 0: the clock")
	modelRuns = flag.Int("model.runs", 8, "how many histories the model test plays")
)

// TestTheLogBehavesLikeASlice plays random histories on a log and on a slice.
func TestTheLogBehavesLikeASlice(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -model.seed=%d", seed)
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

// model is what the log should hold.
type model struct {
	t    *testing.T
	rand *rand.Rand
	opts wal.Options
	log  *wal.Log

	noSpace *atomic.Bool // the disk has no room for the next commit

	streams   map[string]*modelStream
	producers map[string]*modelProducer
}

type modelStream struct {
	events []wal.Event // of offset i+1
	places map[string]*modelPlace
}

// modelPlace remembers what of each event was settled, and how much of that is known to be on disk.
type modelPlace struct {
	place   *wal.Place
	parked  bool
	known   bool        // it is on the disk
	stuck   wal.LaneSet // the lanes that lag
	done    map[uint64]bool
	synced  map[uint64]bool // done when the last Sync returned
	lost    map[uint64]bool // done and not delivered
	absent  map[uint64]bool // gone before the place was made
	settled wal.Ledger      // Delivered and Dead
	dropped wal.Count       // for their age or for room
	missing wal.Count       // absent
}

func (p *modelPlace) lose(offset uint64) { p.done[offset], p.lost[offset] = true, true }

// modelProducer numbers its batches.
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
		},
		streams: make(map[string]*modelStream), producers: make(map[string]*modelProducer),
	}
	m.opts = m.opts.WithFaults(func() error {
		if m.noSpace.Swap(false) {
			return wal.ErrNoSpace
		}
		return nil
	}, nil)
	return m
}

func (m *model) open(dir string) {
	m.opts.Dir = dir
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
	for name, s := range m.streams {
		for destination, p := range s.places {
			if p.place = placeNamed(log, name, destination); p.place == nil {
				if p.known {
					m.t.Fatalf("%s/%s is not known after a reopen", name, destination)
				}
				delete(s.places, destination) // the crash came before it was on the disk
				continue
			}
			if p.parked {
				continue
			}
			if p.place, err = log.Place(name, destination); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// aged reports whether the stream's events are dropped after an hour.
func aged(stream string) bool { return stream == "stream0" || stream == "stream1" }

func placeNamed(l *wal.Log, stream, destination string) *wal.Place {
	for _, p := range l.Places(stream) {
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
		{2, m.reopen}, {2, m.crash}, {6, m.place}, {2, m.park}, {3, m.check}, {3, m.waitSettled}, {2, m.age},
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
		s = &modelStream{places: make(map[string]*modelPlace)}
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

// append submits several batches at once and waits for all. A batch that is refused leaves nothing behind.
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
		s.events = append(s.events, b.Events...)
		if producer := m.producers[b.ProducerID]; producer != nil {
			producer.next += uint64(len(b.Events))
			producer.sent = append(producer.sent, modelBatch{b.ProducerSequence, got[i].First, uint64(got[i].Count)})
		}
	}
}

// submit stores the batches; while they wait for space, the destinations drop the events below their floors.
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

// number makes b the next batch of a producer, if that has none under way.
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

// resend sends a batch again, which may have been truncated meanwhile.
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

// place adds a destination, or brings one back that was parked.
func (m *model) place() {
	name := m.someStream()
	s, destination := m.stream(name), fmt.Sprint("d", m.rand.IntN(3))
	place, err := m.log.Place(name, destination)
	p := s.places[destination]
	if p != nil && !p.parked {
		if !errors.Is(err, wal.ErrPlaceOpen) {
			m.t.Fatalf("got %v for a place that is open", err)
		}
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if p != nil {
		m.learnDropped(s, p) // the log has dropped until now
		p.parked = false
		return
	}
	p = &modelPlace{
		place: place, stuck: wal.LaneSet(m.rand.Uint64() & m.rand.Uint64()),
		done: make(map[uint64]bool), synced: make(map[uint64]bool), lost: make(map[uint64]bool), absent: make(map[uint64]bool),
	}
	s.places[destination] = p
	held := make(map[uint64]bool)
	for _, e := range readAll(m.t, m.log, name, 1, wal.AllLanes) {
		held[e.Offset] = true
	}
	for i := range s.events {
		if offset := uint64(i + 1); !held[offset] {
			p.lose(offset)
			p.absent[offset] = true
			p.missing.Add(countOf(&s.events[i]))
		}
	}
}

func countOf(e *wal.Event) wal.Count { return wal.Count{Events: 1, Bytes: uint64(len(e.Data))} }

// park takes a destination away.
func (m *model) park() {
	if p := m.stream(m.someStream()).places[fmt.Sprint("d", m.rand.IntN(3))]; p != nil {
		p.place.Park()
		p.parked = true
	}
}

// age lets time pass, after which some events are too old.
func (m *model) age() {
	time.Sleep(time.Duration(m.rand.IntN(90)) * time.Minute)
	synctest.Wait()
	m.drop()
}

// drop drops the events below each cursor's floor, as shippers do. For parked cursors it takes over the drops that the
// log has made.
func (m *model) drop() {
	for _, s := range m.streams {
		for _, p := range s.places {
			if p.parked {
				m.learnDropped(s, p)
				continue
			}
			floor, dropped := p.place.Floor(), make(map[string]wal.Count)
			for i := range s.events {
				if offset := uint64(i + 1); !p.done[offset] && offset < floor.Offset() {
					p.lose(offset)
					reason := floor.Reason(offset)
					dropped[reason] = dropped[reason].Plus(countOf(&s.events[i]))
				}
			}
			for _, c := range dropped {
				p.dropped.Add(c)
			}
			if len(dropped) > 0 {
				must(m.t, p.place.Settle(wal.Settlement{Marks: p.marks(s), Add: wal.Ledger{Dropped: dropped}}))
			}
		}
	}
}

func (m *model) learnDropped(s *modelStream, p *modelPlace) {
	marks, floor := p.place.Marks(), p.place.Floor()
	for i := range s.events {
		e, offset := &s.events[i], uint64(i+1)
		mark := marks[wal.LaneOf(e.Key)]
		if p.done[offset] || !mark.Done(offset) {
			continue
		}
		if offset >= floor.Offset() {
			m.t.Fatalf("%s: event %d is settled, and nobody has settled it", p.place.Name(), offset)
		}
		p.lose(offset)
		p.dropped.Add(countOf(e))
	}
}

// settle settles some events of some lanes of a place, ahead of the lane's checkpoint at times.
func (m *model) settle() {
	s := m.streams[m.someStream()]
	if s == nil || len(s.events) == 0 {
		return
	}
	for _, p := range s.places {
		upTo := 1 + m.rand.Uint64N(uint64(len(s.events)))
		switch {
		case p.parked:
		case m.rand.IntN(3) == 0:
			m.settleAt(s, p, func(e *wal.Event, _ uint64) bool { return m.rand.IntN(3) > 0 })
		case m.rand.IntN(2) == 0:
			m.settleAt(s, p, func(e *wal.Event, _ uint64) bool { return !p.stuck.Has(wal.LaneOf(e.Key)) })
		default:
			m.settleAt(s, p, func(_ *wal.Event, offset uint64) bool { return offset <= upTo })
		}
	}
}

func (m *model) settleAt(s *modelStream, p *modelPlace, pick func(e *wal.Event, offset uint64) bool) {
	var add wal.Ledger
	for i := range s.events {
		e, offset := &s.events[i], uint64(i+1)
		if p.done[offset] || !pick(e, offset) {
			continue
		}
		p.done[offset] = true
		c := countOf(e)
		if m.rand.IntN(20) == 0 {
			p.lost[offset] = true
			add.Dead.Add(c)
			continue
		}
		add.Delivered.Add(c)
	}
	must(m.t, p.place.Settle(wal.Settlement{Marks: p.marks(s), Add: add}))
	p.settled.Delivered.Add(add.Delivered)
	p.settled.Dead.Add(add.Dead)
}

// marks says for each lane what is settled of it.
func (p *modelPlace) marks(s *modelStream) map[uint8]wal.Mark {
	marks := make(map[uint8]wal.Mark)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Mark{Checkpoint: uint64(len(s.events)) + 1}
	}
	open := make(map[uint8]bool)
	for i := range s.events {
		offset := uint64(i + 1)
		lane := wal.LaneOf(s.events[i].Key)
		mark := marks[lane]
		switch {
		case p.done[offset] && open[lane]:
			mark.Settled = append(mark.Settled, wal.Run{First: offset, Next: offset + 1})
		case !p.done[offset] && !open[lane]:
			mark.Checkpoint, open[lane] = offset, true
		}
		marks[lane] = mark
	}
	return marks
}

func (m *model) sync() {
	synctest.Wait()
	m.drop() // the sync covers the drops of parked cursors too
	if err := m.log.Sync(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	m.sync0()
}

func (m *model) waitSettled() {
	name := m.someStream()
	s := m.streams[name]
	if s == nil || len(s.events) == 0 || len(s.places) == 0 {
		return
	}
	synctest.Wait()
	m.drop()
	first := 1 + m.rand.Uint64N(uint64(len(s.events)))
	a := wal.Appended{First: first, Count: 1 + m.rand.IntN(min(5, len(s.events)-int(first)+1))}
	want, lost := false, false
	for _, p := range s.places {
		want = want || !p.parked
	}
	for _, p := range s.places {
		for offset := first; offset < first+uint64(a.Count) && !p.parked; offset++ {
			want = want && p.done[offset]
			lost = lost || p.lost[offset]
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if !want {
		cancel()
	}
	defer cancel()
	delivered, err := m.log.WaitSettled(ctx, name, a)
	if got := err == nil; got != want || delivered && lost {
		m.t.Fatalf("wait for %+v of %s: got delivered %v, %v, want settled %v, lost %v", a, name, delivered, err, want, lost)
	}
}

func (m *model) reopen() {
	synctest.Wait()
	m.drop()
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.sync0()
	m.open(m.opts.Dir)
}

// sync0 notes that a close has synced everything.
func (m *model) sync0() {
	for _, s := range m.streams {
		for _, p := range s.places {
			p.known = true
			for offset := range p.done {
				p.synced[offset] = true
			}
		}
	}
}

// crash goes on with a copy of the directory as it is on the disk now. What was acked is there; of what
// was settled, at least what was synced.
func (m *model) crash() {
	synctest.Wait()
	m.drop()
	to := copyInstant(m.t, m.opts.Dir)
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open(to)
	for _, s := range m.streams {
		for _, p := range s.places {
			m.learn(s, p)
		}
	}
}

// copyInstant copies a directory as it is between two commits: a checkpoint that seals a segment, or one that
// is made ready, in the middle of a copy leaves what no crash does.
func copyInstant(t *testing.T, from string) (to string) {
	t.Helper()
	for {
		before := changes(t, from)
		to = t.TempDir()
		copyDir(t, to, from)
		if maps.Equal(before, changes(t, from)) {
			return to
		}
	}
}

// changes returns when each file of a directory was last changed.
func changes(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	at := make(map[string]time.Time)
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if st, statErr := os.Stat(path); err == nil && statErr == nil {
			at[path] = st.ModTime()
		}
		return nil
	}))
	return at
}

// learn takes over what a crash has left of the settlements.
func (m *model) learn(s *modelStream, p *modelPlace) {
	marks := p.place.Marks()
	for i := range s.events {
		offset := uint64(i + 1)
		mark := marks[wal.LaneOf(s.events[i].Key)]
		done := p.absent[offset] || mark.Done(offset)
		if p.synced[offset] && !done {
			m.t.Fatalf("event %d was settled and synced, and is not settled after a crash", offset)
		}
		if done && !p.done[offset] {
			m.t.Fatalf("event %d was not settled, and is after a crash", offset)
		}
		p.done[offset], p.synced[offset] = done, done
		if !done {
			delete(p.done, offset)
			delete(p.synced, offset)
			delete(p.lost, offset)
		}
	}
	st := p.place.Stat()
	p.known, p.settled, p.dropped = true, st.Ledger, droppedByPolicy(st)
}

func droppedByPolicy(st wal.PlaceStat) wal.Count {
	return st.Dropped[wal.DroppedAge].Plus(st.Dropped[wal.DroppedFull])
}

func (m *model) settleRest() {
	synctest.Wait()
	m.drop()
	for name, s := range m.streams {
		for destination, p := range s.places {
			if p.parked {
				_, err := m.log.Place(name, destination)
				must(m.t, err)
				m.learnDropped(s, p)
				p.parked = false
			}
			m.settleAt(s, p, func(*wal.Event, uint64) bool { return true })
		}
	}
	m.sync()
	placeless := 0
	for _, s := range m.streams {
		if len(s.places) == 0 && len(s.events) > 0 {
			placeless++
		}
	}
	// The newest may not have begun: then the one before it has the state.
	if got := m.log.Stat().Segments; placeless == 0 && got > 2 {
		m.t.Errorf("got %d segments when all is settled, want 1, or 2", got)
	}
}

// readSome reads some lanes from somewhere.
func (m *model) readSome() {
	name := m.someStream()
	s := m.streams[name]
	if s == nil {
		return
	}
	m.compare(name, s, 1+m.rand.Uint64N(uint64(len(s.events))+1), wal.LaneSet(m.rand.Uint64()), 1+m.rand.IntN(100_000))
}

// compare reads to the end and checks that every event that some place has not settled is there, once,
// in order and exact, and that nothing else is but what is in the model.
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

// missing checks that nobody waits for what was not read of [from, to).
func (m *model) missing(name string, s *modelStream, from, to uint64, lanes wal.LaneSet) {
	for offset := from; offset < to; offset++ {
		if !lanes.Has(wal.LaneOf(s.events[offset-1].Key)) {
			continue
		}
		for destination, p := range s.places {
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

// check compares everything.
func (m *model) check() {
	synctest.Wait()
	m.drop()
	for name, s := range m.streams {
		m.compare(name, s, 1, wal.AllLanes, 1<<20)
		var appended wal.Count
		for i := range s.events {
			appended.Add(wal.Count{Events: 1, Bytes: uint64(len(s.events[i].Data))})
		}
		if got, want := m.log.Next(name), appended.Events+1; got != want {
			m.t.Errorf("%s: next is %d, want %d", name, got, want)
		}
		for destination, p := range s.places {
			m.checkPlace(name+"/"+destination, p, appended)
		}
	}
	if err := m.log.Sync(context.Background()); err != nil { // no segment is being truncated when it returns
		m.t.Fatal(err)
	}
	synctest.Wait()
	files, err := filepath.Glob(filepath.Join(m.opts.Dir, "wal", "*.seg"))
	st := m.log.Stat()
	if ready := len(files) - st.Segments; err != nil || ready < 0 || ready > 1 || st.Bytes > st.MaxBytes {
		m.t.Errorf("got %d files %v, stat %+v", len(files), files, st)
	}
}

func (m *model) checkPlace(name string, p *modelPlace, appended wal.Count) {
	st := p.place.Stat()
	want := p.settled.Delivered.Plus(p.settled.Dead).Plus(p.dropped).Plus(p.missing)
	if st.Appended != appended || st.Delivered != p.settled.Delivered || st.Dead != p.settled.Dead ||
		droppedByPolicy(st) != p.dropped || st.Dropped[wal.DroppedAbsent] != p.missing || st.Dropped[wal.DroppedCorrupt].Events > 0 {
		m.t.Errorf("%s: got %+v, want %+v appended, %+v, dropped %+v, absent %+v", name, st, appended, p.settled, p.dropped, p.missing)
	}
	if got := appended.Sub(want); st.Pending != got || st.Pending.Events != appended.Events-uint64(len(p.done)) {
		m.t.Errorf("%s: got %+v pending, want %+v; %d settled", name, st.Pending, got, len(p.done))
	}
}

func copyDir(t testing.TB, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, writeSparse(filepath.Join(to, rel), data))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writeSparse leaves out pages of zeros, as they are in the log's own files.
func writeSparse(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var zeros [4096]byte
	for at := 0; at < len(data); at += len(zeros) {
		page := data[at:min(at+len(zeros), len(data))]
		if bytes.Equal(page, zeros[:len(page)]) {
			continue
		}
		if _, err := f.WriteAt(page, int64(at)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Truncate(int64(len(data))), f.Close())
}
