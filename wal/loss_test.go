package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// owner is a destination that holds events in memory, as a shipper does.
type owner struct {
	cursor *wal.Cursor
	next   [wal.Lanes]uint64 // of the next read
	queue  [wal.Lanes][]wal.Event
	ended  map[uint64]bool // the offsets that it has settled
}

func (o *owner) start() {
	for lane, m := range o.cursor.Lanes() {
		o.next[lane], o.queue[lane] = m.Checkpoint, nil
	}
}

// held returns the events in memory.
func (o *owner) held() *wal.Held {
	h := &wal.Held{Next: o.next}
	for lane := range o.queue {
		for i := range o.queue[lane] {
			h.Count.Add(countOf(&o.queue[lane][i]))
		}
	}
	return h
}

// settle settles the first n events of the lane.
func (o *owner) settle(t *testing.T, lane uint8, n int) {
	t.Helper()
	q, add := o.queue[lane], wal.Ledger{}
	if n = min(n, len(q)); n == 0 {
		return
	}
	for i := range q[:n] {
		if o.ended[q[i].Offset] {
			t.Fatalf("%s: event %d is settled twice", o.cursor.Name(), q[i].Offset)
		}
		o.ended[q[i].Offset] = true
		add.Delivered.Add(countOf(&q[i]))
	}
	o.queue[lane] = q[n:]
	m := wal.Progress{Checkpoint: o.next[lane]}
	if n < len(q) {
		m.Checkpoint = q[n].Offset
	}
	must(t, o.cursor.Settle(wal.Settlement{Lanes: map[uint8]wal.Progress{lane: m}, Add: add}))
}

// evict removes the lane's events from memory, so that they are read again.
func (o *owner) evict(lane uint8) {
	if len(o.queue[lane]) > 0 {
		o.next[lane], o.queue[lane] = o.queue[lane][0].Offset, nil
	}
}

// lossModel is a log with some owners. Its segments become unreadable here and there, and readable again.
type lossModel struct {
	t      *testing.T
	rand   *rand.Rand
	opts   wal.Options
	log    *wal.Log
	owners []*owner
	bytes  uint64
	said   bytes.Buffer

	spoilt  map[string][]byte // the whole content of damaged segments
	missing string            // the path of a segment that was moved away
}

func (m *lossModel) open() {
	m.opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &m.said, Level: hclog.Error})
	m.log = open(m.t, m.opts)
	for i, o := range m.owners {
		var err error
		o.cursor, err = m.log.OpenCursor("s", fmt.Sprint("d", i))
		must(m.t, err)
		o.start()
	}
}

// append appends some events.
func (m *lossModel) append() {
	b := &wal.Batch{Stream: "s"}
	for range 1 + m.rand.IntN(12) {
		e := event(fmt.Sprint("k", m.rand.IntN(9)), strings.Repeat("x", m.rand.IntN(3000)))
		b.Events = append(b.Events, e)
		m.bytes += uint64(len(e.Data))
	}
	_, err := m.log.Append(m.t.Context(), b)
	must(m.t, err)
}

// read reads for the lane of an owner that is furthest behind, or for another, and for some lanes beside it. From a
// corrupt part on, the owner goes on as a shipper does.
func (m *lossModel) read(o *owner, first uint8) (end bool) {
	from, lanes := o.next[first], wal.LaneSet(0).With(first)
	for lane := range uint8(wal.Lanes) {
		if o.next[lane] >= from && m.rand.IntN(4) > 0 {
			lanes = lanes.With(lane)
		}
	}
	chunk, err := m.log.Read("s", from, lanes, 1+m.rand.IntN(30_000))
	var corrupt *wal.CorruptError
	if errors.As(err, &corrupt) {
		lose := o.cursor.Lose(corrupt, chunk.Next, o.held())
		for range m.rand.IntN(3) {
			o.settle(m.t, uint8(m.rand.IntN(wal.Lanes)), 1+m.rand.IntN(5))
		}
		chunk.Next, err = lose()
	}
	must(m.t, err)
	lost := o.cursor.Lanes()
	for _, e := range chunk.Events {
		if lanes.Has(e.Lane) && e.Offset >= o.next[e.Lane] && !lost[e.Lane].Done(e.Offset) {
			o.queue[e.Lane] = append(o.queue[e.Lane], e)
		}
	}
	for lane := range uint8(wal.Lanes) {
		if lanes.Has(lane) {
			o.next[lane] = max(o.next[lane], chunk.Next)
		}
	}
	return chunk.End
}

// spoil overwrites a part of a sealed segment in place.
func (m *lossModel) spoil() {
	path := m.sealed()
	if path == "" {
		return
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) { // the log has just unlinked it
		return
	}
	must(m.t, err)
	at := 4*boltPage + m.rand.IntN(len(content)-8*boltPage)
	n := 1 + m.rand.IntN(3*boltPage)
	if _, twice := m.spoilt[path]; twice || bytes.Count(content[at:at+n], []byte{0}) == n {
		return
	}
	m.spoilt[path] = content
	m.overwrite(path, int64(at), bytes.Repeat([]byte{0xff}, n))
}

// overwrite does nothing to a segment that the log has unlinked.
func (m *lossModel) overwrite(path string, at int64, content []byte) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	must(m.t, err)
	defer f.Close()
	_, err = f.WriteAt(content, at)
	must(m.t, err)
}

// heal makes all segments readable again.
func (m *lossModel) heal() {
	for path, content := range m.spoilt {
		m.overwrite(path, 0, content)
		delete(m.spoilt, path)
	}
}

// check compares the counts of each destination with the events that it has settled.
func (m *lossModel) check() {
	m.t.Helper()
	for _, o := range m.owners {
		st := o.cursor.Stat()
		if st.Delivered.Events != uint64(len(o.ended)) {
			m.t.Fatalf("%s: got %d events delivered, want %d", o.cursor.Name(), st.Delivered.Events, len(o.ended))
		}
		if held := o.held().Count; st.Pending.Events < held.Events || st.Pending.Bytes < held.Bytes {
			m.t.Fatalf("%s: got %+v pending, less than the %+v in memory", o.cursor.Name(), st.Pending, held)
		}
	}
}

// drain makes each destination settle all that it can read.
func (m *lossModel) drain() {
	for _, o := range m.owners {
		for lane := range uint8(wal.Lanes) {
			for !m.read(o, lane) {
				m.check()
			}
		}
		for lane := range uint8(wal.Lanes) {
			o.settle(m.t, lane, len(o.queue[lane]))
		}
		st := o.cursor.Stat()
		if dropped := st.Dropped[wal.DroppedCorrupt].Events; st.Pending != (wal.Count{}) || st.Appended.Bytes != m.bytes ||
			uint64(len(o.ended))+dropped != st.Appended.Events {
			m.t.Fatalf("%s: got %+v, want nothing pending, %d events delivered and the others lost", o.cursor.Name(), st, len(o.ended))
		}
	}
}

// Each destination counts each event once: as delivered if it has read it in time, otherwise as lost. That holds if
// another destination finds the damage, if the damage goes away, and over restarts.
func TestLoss_CountsOnceForEachDestination(t *testing.T) {
	runs := 40
	if testing.Short() {
		runs = 8
	}
	seed, lost := draw.Seed(t), uint64(0)
	for run := range runs {
		t.Run(fmt.Sprint("seed=", seed, "/run=", run), func(t *testing.T) {
			m := &lossModel{t: t, rand: rand.New(rand.NewPCG(seed, uint64(run))), spoilt: make(map[string][]byte)}
			m.opts = wal.Options{Dir: memoryDir(t), SegmentSize: 64 << 10}
			for range 1 + m.rand.IntN(4) {
				m.owners = append(m.owners, &owner{ended: make(map[uint64]bool)})
			}
			m.open()
			for range 300 {
				o, lane := m.owners[m.rand.IntN(len(m.owners))], uint8(m.rand.IntN(wal.Lanes))
				switch m.rand.IntN(24) {
				case 0:
					m.spoil()
				case 1:
					if m.rand.IntN(4) == 0 {
						m.heal()
					}
				case 2:
					if m.rand.IntN(6) == 0 {
						m.reopen()
					}
				case 3:
					o.evict(lane)
				case 4:
					sync(t, m.log)
				case 5, 6, 7, 8:
					m.append()
				case 9, 10, 11, 12, 13:
					for lane := range uint8(wal.Lanes) {
						o.settle(t, lane, m.rand.IntN(4))
					}
				default:
					m.read(o, uint8(slices.Index(o.next[:], slices.Min(o.next[:]))))
				}
				m.check()
			}
			m.drain()
			m.reopen()
			m.drain()
			for _, o := range m.owners {
				lost += o.cursor.Stat().Dropped[wal.DroppedCorrupt].Events
			}
			if said := m.said.String(); strings.Contains(said, "internal fault") {
				t.Error(said)
			}
		})
	}
	if lost == 0 {
		t.Error("nothing was lost; nothing is tested")
	}
}

// sealed returns the path of a sealed segment, or nothing. The last file may be ready to follow the newest segment.
func (m *lossModel) sealed() string {
	files := segmentFiles(m.t, m.opts.Dir)
	if len(files) < 3 {
		return ""
	}
	return files[m.rand.IntN(len(files)-2)]
}

// reopen closes the log, and opens it again. Damage is gone by then. A segment that was missing is there again, and
// another one may be missing.
func (m *lossModel) reopen() {
	must(m.t, m.log.Close())
	m.heal()
	if m.missing != "" {
		must(m.t, os.Rename(m.missing+".away", m.missing))
		m.missing = ""
	} else if path := m.sealed(); path != "" && m.rand.IntN(2) == 0 {
		must(m.t, os.Rename(path, path+".away"))
		m.missing = path
	}
	m.open()
}

// lossy is a log with a destination, and an event that can no longer be read.
func lossy(t *testing.T, o wal.Options) (l *wal.Log, p *wal.Cursor, spoil func()) {
	t.Helper()
	o.Dir, o.SegmentSize = t.TempDir(), 64<<10
	l = open(t, o)
	p, err := l.OpenCursor("s", "d")
	must(t, err)
	for i := 0; l.Stat().Segments < 4; i++ {
		appendOne(t, l, "s", "k", fmt.Sprintf("event %d %s", i+1, strings.Repeat("x", 5000)))
	}
	return l, p, func() {
		path := segmentFiles(t, o.Dir)[0]
		content, err := os.ReadFile(path)
		must(t, err)
		overwrite(t, path, 0, bytes.ReplaceAll(content, []byte("event 3 "), []byte("Event 3 ")))
	}
}

// readCorrupt reads up to the corrupt part, and returns its error and offset.
func readCorrupt(t *testing.T, l *wal.Log) (corrupt *wal.CorruptError, at uint64) {
	t.Helper()
	for at = 1; ; {
		chunk, err := l.Read("s", at, wal.AllLanes, 1<<20)
		if at = chunk.Next; errors.As(err, &corrupt) {
			return corrupt, at
		}
		must(t, err)
		if chunk.End {
			t.Fatal("the damage was not found")
		}
	}
}

// The losses of a cursor are counted once if they are counted again before the first count is done.
func TestLoss_BegunTwiceCountsOnce(t *testing.T) {
	l, p, spoil := lossy(t, wal.Options{})
	spoil()
	corrupt, at := readCorrupt(t, l)
	first, second := p.Lose(corrupt, at, new(wal.Held)), p.Lose(corrupt, at, new(wal.Held))
	next, err := first()
	must(t, err)
	if again, err := second(); err != nil || again != at {
		t.Errorf("got %d, %v of the second call, want %d: the part is read again", again, err, at)
	}
	lost := next - at
	if st := p.Stat(); st.Dropped[wal.DroppedCorrupt].Events != lost || st.Pending.Events != st.Appended.Events-lost {
		t.Errorf("got %+v, want %d lost", st, lost)
	}
	if next, err = p.Lose(corrupt, at, new(wal.Held))(); err != nil || next != at+lost {
		t.Errorf("got %d, %v, want the end %d of the part", next, err, at+lost)
	}
}

// A caller that waits until an event is delivered gets the result false when it is lost.
func TestLoss_EndsTheWaitForItsEvents(t *testing.T) {
	l, p, spoil := lossy(t, wal.Options{})
	type result struct {
		delivered bool
		err       error
	}
	done := make(chan result)
	go func() {
		delivered, err := l.WaitSettled(bg, "s", wal.Appended{First: 3, Count: 1})
		done <- result{delivered, err}
	}()
	for l.Waiting("s") == 0 {
		runtime.Gosched()
	}
	spoil()
	corrupt, at := readCorrupt(t, l)
	_, err := p.Lose(corrupt, at, new(wal.Held))()
	must(t, err)
	settleTo(t, p, l.Next("s"), delivered(p.Stat().Pending.Events))
	if got := <-done; got.err != nil || got.delivered {
		t.Errorf("got %+v, want an event that was not delivered", got)
	}
}

// A policy drops events for a parked destination. Those that cannot be read count as lost, and none stays pending.
func TestParkedDestination_LosesWhatItsDropCannotRead(t *testing.T) {
	l, p, spoil := lossy(t, wal.Options{MaxSize: 1 << 20, OnFull: wal.DropOldest})
	p.Close()
	spoil()
	for range 300 {
		appendOne(t, l, "s", "k", strings.Repeat("x", 5000))
	}
	st := p.Stat()
	left := uint64(len(readAll(t, l, "s", st.Checkpoint, wal.AllLanes)))
	if st.Dropped[wal.DroppedFull].Events == 0 || st.Dropped[wal.DroppedCorrupt].Events == 0 || st.Pending.Events != left {
		t.Errorf("got %+v, want events dropped and lost, and the %d pending that can be read", st, left)
	}
}
