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
	"testing"
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
		t.Run(fmt.Sprint("seed=", seed+i), func(t *testing.T) { playModel(t, seed+i, 150) })
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
	done    map[uint64]bool
	synced  map[uint64]bool // done when the last Sync returned
	settled wal.Ledger
}

// modelProducer numbers its batches.
type modelProducer struct {
	stream string
	next   uint64
	sent   []modelBatch
}

type modelBatch struct{ sequence, first, count uint64 }

func newModel(t *testing.T, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 1))
	return &model{
		t: t, rand: r,
		opts: wal.Options{
			MaxSize: []int64{12 << 20, 64 << 20}[r.IntN(2)], SegmentSize: []int64{64 << 10, 256 << 10, 1 << 20}[r.IntN(3)],
			CommitLinger: []time.Duration{0, 0, time.Millisecond}[r.IntN(3)],
		},
		streams: make(map[string]*modelStream), producers: make(map[string]*modelProducer),
	}
}

func (m *model) open(dir string) {
	m.opts.Dir = dir
	m.opts = m.opts.Rewriting()
	log, err := wal.Open(context.Background(), m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.log = log
	for name, s := range m.streams {
		for destination, p := range s.places {
			p.place, err = log.Place(name, destination)
			if err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

func (m *model) step() {
	steps := []struct {
		weight int
		do     func()
	}{
		{40, m.append}, {8, m.resend}, {20, m.settle}, {10, m.readSome}, {5, m.sync},
		{2, m.reopen}, {2, m.crash}, {3, m.newPlace}, {3, m.check}, {3, m.waitSettled},
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

// append submits several batches at once and waits for all.
func (m *model) append() {
	type pending struct {
		ticket *wal.Ticket
		batch  *wal.Batch
	}
	var all []pending
	for range 1 + m.rand.IntN(4) {
		b := &wal.Batch{Stream: m.someStream()}
		for range 1 + m.rand.IntN(12) {
			b.Events = append(b.Events, m.event(b.Stream))
		}
		if m.rand.IntN(3) == 0 {
			m.number(b)
		}
		ticket, err := m.log.Submit(context.Background(), b)
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, pending{ticket, b})
	}
	for _, p := range all {
		got, err := p.ticket.Wait(context.Background())
		s := m.stream(p.batch.Stream)
		want := wal.Appended{First: uint64(len(s.events)) + 1, Count: len(p.batch.Events)}
		if err != nil || got != want {
			m.t.Fatalf("append: got %+v, %v, want %+v", got, err, want)
		}
		s.events = append(s.events, p.batch.Events...)
		if producer := m.producers[p.batch.ProducerID]; producer != nil {
			producer.sent = append(producer.sent, modelBatch{p.batch.ProducerSequence, got.First, uint64(got.Count)})
		}
	}
}

func (m *model) number(b *wal.Batch) {
	b.ProducerID = fmt.Sprint(b.Stream, "/", m.rand.IntN(3))
	p := m.producers[b.ProducerID]
	if p == nil {
		p = &modelProducer{stream: b.Stream, next: 1}
		m.producers[b.ProducerID] = p
	}
	b.ProducerSequence = p.next
	p.next += uint64(len(b.Events))
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

func (m *model) newPlace() {
	name := m.someStream()
	s, destination := m.stream(name), fmt.Sprint("d", m.rand.IntN(3))
	if s.places[destination] != nil || len(s.events) > 0 && len(s.places) > 0 {
		return // what of it has been truncated is not the model's to know
	}
	place, err := m.log.Place(name, destination)
	if err != nil {
		m.t.Fatal(err)
	}
	s.places[destination] = &modelPlace{place: place, done: make(map[uint64]bool), synced: make(map[uint64]bool)}
}

// settle settles some events of some lanes of a place, ahead of the lane's checkpoint at times.
func (m *model) settle() {
	s := m.streams[m.someStream()]
	if s == nil || len(s.events) == 0 {
		return
	}
	for _, p := range s.places {
		if m.rand.IntN(2) == 0 {
			m.settleAt(s, p, func(e *wal.Event, _ uint64) bool { return m.rand.IntN(3) > 0 })
			continue
		}
		upTo := 1 + m.rand.Uint64N(uint64(len(s.events)))
		m.settleAt(s, p, func(_ *wal.Event, offset uint64) bool { return offset <= upTo })
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
		c := wal.Count{Events: 1, Bytes: uint64(len(e.Data))}
		if m.rand.IntN(20) == 0 {
			add.Dead.Add(c)
			continue
		}
		add.Delivered.Add(c)
	}
	p.place.Settle(wal.Settlement{Marks: p.marks(s), Add: add})
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
	if err := m.log.Sync(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	for _, s := range m.streams {
		for _, p := range s.places {
			for offset := range p.done {
				p.synced[offset] = true
			}
		}
	}
}

func (m *model) waitSettled() {
	name := m.someStream()
	s := m.streams[name]
	if s == nil || len(s.events) == 0 || len(s.places) == 0 {
		return
	}
	offset := 1 + m.rand.Uint64N(uint64(len(s.events)))
	want := true
	for _, p := range s.places {
		want = want && p.done[offset]
	}
	ctx, cancel := context.WithCancel(context.Background())
	if !want {
		cancel()
	}
	defer cancel()
	_, err := m.log.WaitSettled(ctx, name, wal.Appended{First: offset, Count: 1})
	if got := err == nil; got != want {
		m.t.Fatalf("wait for %d of %s: got %v, want settled %v", offset, name, err, want)
	}
}

func (m *model) reopen() {
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
			for offset := range p.done {
				p.synced[offset] = true
			}
		}
	}
}

// crash goes on with a copy of the directory as it is on the disk now. What was acked is there; of what
// was settled, at least what was synced.
func (m *model) crash() {
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
		done := marks[wal.LaneOf(s.events[i].Key)].Done(offset)
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
		}
	}
	st := p.place.Stat()
	p.settled = st.Ledger
}

func (m *model) settleRest() {
	for _, s := range m.streams {
		for _, p := range s.places {
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
			if !p.done[offset] {
				m.t.Fatalf("%s %d was not read, and %s waits for it", name, offset, destination)
			}
		}
		if len(s.places) == 0 {
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
	files, err := filepath.Glob(filepath.Join(m.opts.Dir, "wal", "*.seg"))
	st := m.log.Stat()
	if ready := len(files) - st.Segments; err != nil || ready < 0 || ready > 1 || st.Bytes > st.MaxBytes {
		m.t.Errorf("got %d files %v, stat %+v", len(files), files, st)
	}
}

func (m *model) checkPlace(name string, p *modelPlace, appended wal.Count) {
	st := p.place.Stat()
	want := p.settled.Delivered
	want.Add(p.settled.Dead)
	if st.Appended != appended || st.Delivered != p.settled.Delivered || st.Dead != p.settled.Dead || len(st.Dropped) > 0 {
		m.t.Errorf("%s: got %+v, want %+v appended, %+v", name, st, appended, p.settled)
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
