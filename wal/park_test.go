package wal_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	goSync "sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// fillTwo opens a log with the destinations "a" and "b" of the stream "s", and appends events until there are that many
// segments. Both have settled nothing.
func fillTwo(t *testing.T, segments int) (o wal.Options, l *wal.Log, a, b *wal.Cursor) {
	t.Helper()
	o = wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, MaxSize: 64 << 20}
	l = open(t, o)
	a, err := l.OpenCursor("s", "a")
	must(t, err)
	b, err = l.OpenCursor("s", "b")
	must(t, err)
	fillTo(t, l, segments)
	return o, l, a, b
}

func fillTo(t *testing.T, l *wal.Log, segments int) {
	t.Helper()
	for i := 0; l.Stat().Segments < segments; i++ {
		appendOne(t, l, "s", fmt.Sprint(i), strings.Repeat("x", 8<<10))
	}
}

// A parked destination keeps the events that it had, and holds no segment of later events, also after a restart.
func TestPark_GathersNothingNew(t *testing.T) {
	o, l, a, b := fillTwo(t, 6)
	b.Park()
	had := b.Stat().Pending
	kept := l.Stat().Segments
	for range 5 {
		fillTo(t, l, l.Stat().Segments+4)
		settleAll(l, a, a.Stat().Pending)
		sync(t, l)
		sync(t, l)
	}
	if got := l.Stat().Segments; got > kept+2 {
		t.Errorf("got %d segments, want at most two more than the %d that the parked destination holds", got, kept)
	}
	check := func(b *wal.Cursor) {
		t.Helper()
		st := b.Stat()
		if st.Pending != had || st.Appended != st.Settled().Plus(st.Pending) || st.Dropped[wal.DroppedParked] != st.Appended.Sub(had) || st.Checkpoint != 1 {
			t.Errorf("got %+v, want %+v pending and all later events dropped", st, had)
		}
	}
	check(b)
	must(t, l.Close())
	l = open(t, o)
	check(l.Cursors("s")[1])

	// It comes back, delivers its events, and continues with new ones.
	b, err := l.OpenCursor("s", "b")
	must(t, err)
	missed := b.Stat().Dropped[wal.DroppedParked]
	for range 3 {
		appendOne(t, l, "s", "k", "new")
	}
	st, lanes := b.Stat(), b.Lanes()
	if want := had.Plus(wal.Count{Events: 3, Bytes: 9}); st.Pending != want || st.Dropped[wal.DroppedParked] != missed {
		t.Errorf("got %+v, want %+v pending", st, want)
	}
	unsettled := wal.Count{}
	for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
		if !lanes[e.Lane].Done(e.Offset) {
			unsettled.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
	}
	if unsettled != st.Pending {
		t.Errorf("can read %+v, and %+v are pending", unsettled, st.Pending)
	}
}

// A kill after a destination has returned, and has new events, loses none of these.
func TestPark_ReturnIsOnTheDisk(t *testing.T) {
	dir, image := t.TempDir(), ""
	o := wal.Options{Dir: dir}
	l := open(t, o.WithFaults(nil, func() error {
		image = t.TempDir()
		copyDir(t, image, dir)
		return nil
	}))
	b, err := l.OpenCursor("s", "b")
	must(t, err)
	appendOne(t, l, "s", "k", "x")
	b.Park()
	sync(t, l)
	appendOne(t, l, "s", "k", "missed")
	_, err = l.OpenCursor("s", "b")
	must(t, err)
	appendOne(t, l, "s", "k", "new")
	killed := open(t, wal.Options{Dir: image})
	b, err = killed.OpenCursor("s", "b")
	must(t, err)
	if st := b.Stat(); st.Pending.Events != 2 || st.Dropped[wal.DroppedParked].Events != 1 {
		t.Errorf("got %+v, want the first and the last event pending", st)
	}
}

// A parked destination without pending events holds nothing at all.
func TestPark_WithoutEventsHoldsNoSegment(t *testing.T) {
	o, l, a, b := fillTwo(t, 4)
	settleAll(l, b, b.Stat().Pending)
	b.Park()
	fillTo(t, l, l.Stat().Segments+4)
	settleAll(l, a, a.Stat().Pending)
	sync(t, l)
	sync(t, l)
	if got := l.Stat().Segments; got > 2 {
		t.Errorf("got %d segments, want those at the end only", got)
	}
	must(t, l.Close())
	l = open(t, o)
	if st := l.Cursors("s")[1].Stat(); st.Pending.Events > 0 || st.Checkpoint != st.Appended.Events+1 {
		t.Errorf("got %+v, want nothing pending", st)
	}
}

// Forget frees the segments that only the parked destination held, also of a stream without another destination.
func TestForget_FreesSegments(t *testing.T) {
	o, l, a, b := fillTwo(t, 8)
	if _, err := b.Forget(t.Context()); !errors.Is(err, wal.ErrNotParked) {
		t.Errorf("got %v for an open cursor, want ErrNotParked", err)
	}
	b.Close()
	if _, err := b.Forget(t.Context()); !errors.Is(err, wal.ErrNotParked) {
		t.Errorf("got %v for a cursor that is not parked, want ErrNotParked", err)
	}
	b.Park()
	settleAll(l, a, a.Stat().Pending)
	a.Park()
	had := b.Stat().Pending
	got, err := b.Forget(t.Context())
	if err != nil || got != had {
		t.Errorf("forgot %+v, %v, want %+v", got, err, had)
	}
	sync(t, l)
	if got := l.Stat().Segments; got > 2 {
		t.Errorf("got %d segments, want those at the end only", got)
	}
	got, err = b.Forget(t.Context())
	if err != nil || got.Events > 0 {
		t.Errorf("forgot %+v, %v the second time", got, err)
	}
	must(t, l.Close())
	l = open(t, o)
	b = l.Cursors("s")[1]
	if st := b.Stat(); st.Dropped[wal.DroppedForgotten] != had || st.Pending.Events > 0 || !st.Parking.Forgotten {
		t.Errorf("got %+v after a restart, want %+v forgotten", st, had)
	}
	b, err = l.OpenCursor("s", "b")
	must(t, err)
	appendOne(t, l, "s", "k", "new")
	if st := b.Stat(); st.Pending.Events != 1 || st.Parking != (wal.Parking{}) {
		t.Errorf("got %+v, want the new event pending", st)
	}
}

// A wait for the delivery of an event is not confirmed by a destination that came back after the event.
func TestPark_ReturnedDestinationDoesNotHaveTheEvent(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	b, err := l.OpenCursor("s", "b")
	must(t, err)
	b.Park()
	a := appendOne(t, l, "s", "k", "x")
	b, err = l.OpenCursor("s", "b")
	must(t, err)
	delivered, err := l.WaitSettled(t.Context(), "s", a)
	if err != nil || delivered {
		t.Errorf("got delivered %v, %v, want an event that is lost for the destination", delivered, err)
	}
	if st := b.Stat(); st.Dropped[wal.DroppedParked].Events != 1 {
		t.Errorf("got %+v", st)
	}
}

// drops by a policy reach the events that a parked destination kept, and no others.
func TestPark_PolicyDropsKeptEventsOnly(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	a, err := l.OpenCursor("small", "a")
	must(t, err)
	b, err := l.OpenCursor("small", "b")
	must(t, err)
	_, err = l.Append(t.Context(), kilo(40))
	must(t, err)
	b.Park()
	l.SetPolicy(share(30_000, wal.DropOldest))
	for range 10 {
		settleAll(l, a, a.Stat().Pending)
		_, err := l.Append(t.Context(), kilo(20))
		must(t, err)
	}
	st := b.Stat()
	left := uint64(0)
	for _, e := range readAll(t, l, "small", 1, wal.AllLanes) {
		if e.Offset >= st.Checkpoint && e.Offset < 41 {
			left++
		}
	}
	if st.Dropped[wal.DroppedParked].Events != 200 || st.Dropped[wal.DroppedFull].Events == 0 || st.Pending.Events != left ||
		st.Dropped[wal.DroppedFull].Events+left != 40 {
		t.Errorf("got %+v with %d events to read, want 200 dropped as parked, and 40 that are pending or dropped as full", st, left)
	}
}

// A damaged log costs a parked destination the lost events that it kept, and none that were appended later.
func TestPark_CountsOnlyItsOwnLosses(t *testing.T) {
	for name, file := range map[string]int{"kept": 1, "later": 6} {
		t.Run(name, func(t *testing.T) {
			o, l, _, b := fillTwo(t, 4)
			b.Park()
			had := b.Stat().Pending
			fillTo(t, l, 9)
			must(t, l.Close())
			must(t, os.Remove(segmentFiles(t, o.Dir)[file]))
			l = open(t, o)
			sa, sb := l.Cursors("s")[0].Stat(), l.Cursors("s")[1].Stat()
			if sa.Dropped[wal.DroppedCorrupt].Events == 0 || sa.Appended != sa.Settled().Plus(sa.Pending) {
				t.Errorf("a: got %+v, want losses", sa)
			}
			lost := sb.Dropped[wal.DroppedCorrupt]
			if (lost.Events > 0) != (name == "kept") || sb.Pending.Plus(lost) != had || sb.Dropped[wal.DroppedParked] != sb.Appended.Sub(had) {
				t.Errorf("b: got %+v, want losses of the %+v kept only", sb, had)
			}
		})
	}
}

// parkModel is the expected state of a destination that is removed from the configuration and put back.
type parkModel struct {
	configured              bool
	next                    uint64
	owed                    map[uint64]bool // pending
	parked, forgotten, sent uint64
	end                     bool // it is parked
	paused                  bool
}

func (m *parkModel) clone() *parkModel {
	c := *m
	c.owed = maps.Clone(m.owed)
	return &c
}

func (m *parkModel) append(n uint64) {
	for range n {
		if m.end {
			m.parked++
		} else {
			m.owed[m.next] = true
		}
		m.next++
	}
}

// start is the start of an agent, or the end of a reload.
func (m *parkModel) start() { m.end = !m.configured }

func (m *parkModel) String() string {
	return fmt.Sprint("next ", m.next, " owed ", slices.Sorted(maps.Keys(m.owed)), " parked ", m.parked, " forgotten ", m.forgotten,
		" sent ", m.sent, " paused ", m.paused)
}

// started returns the state of the destination after an agent has started with the log.
func started(t *testing.T, l *wal.Log, configured bool) (p *wal.Cursor, state string) {
	t.Helper()
	var err error
	if p = cursorNamed(l, "s", "b"); p == nil || configured {
		p, err = l.OpenCursor("s", "b")
		must(t, err)
	}
	if !configured {
		p.Park()
	}
	return p, parkState(t, l, p)
}

func parkState(t *testing.T, l *wal.Log, p *wal.Cursor) string {
	t.Helper()
	st, lanes := p.Stat(), p.Lanes()
	m := parkModel{
		next: st.Appended.Events + 1, owed: make(map[uint64]bool), sent: st.Delivered.Events,
		parked: st.Dropped[wal.DroppedParked].Events, forgotten: st.Dropped[wal.DroppedForgotten].Events, paused: !st.Paused.IsZero(),
	}
	for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
		if !lanes[e.Lane].Done(e.Offset) && (st.Parking.Next == 0 || e.Offset < st.Parking.Next) {
			m.owed[e.Offset] = true
		}
	}
	if st.Pending.Events != uint64(len(m.owed)) || st.Appended != st.Settled().Plus(st.Pending) {
		t.Fatalf("got %+v, and %d events to read", st, len(m.owed))
	}
	return m.String()
}

// A destination that returns gets no event that was appended while it was parked, also after a restart.
func TestPark_ReturnGetsNoMissedEvents(t *testing.T) {
	o := wal.Options{Dir: t.TempDir()}
	l := open(t, o)
	b, err := l.OpenCursor("s", "b")
	must(t, err)
	m := &parkModel{configured: true, next: 1, owed: make(map[uint64]bool)}
	add := func(keys ...string) {
		for _, key := range keys {
			appendOne(t, l, "s", key, "x")
		}
		m.append(uint64(len(keys)))
	}
	add("1", "2")
	b.Park()
	m.end = true
	add("1", "2", "3") // of lanes with and without kept events
	b, err = l.OpenCursor("s", "b")
	must(t, err)
	m.end = false
	add("1", "3", "4")
	if got := parkState(t, l, b); m.parked != 3 || got != m.String() {
		t.Errorf("got %s, want %s", got, m)
	}
	must(t, l.Close())
	l = open(t, o)
	if _, got := started(t, l, true); got != m.String() {
		t.Errorf("got %s after a restart, want %s", got, m)
	}
}

// The process is killed after every commit of seeded histories. The destination then has the state of before the last
// step, or that of after it.
func TestPark_SurvivesAKillAtEachCommit(t *testing.T) {
	seed := draw.Seed(t)
	for history := range uint64(4) {
		playPark(t, rand.New(rand.NewPCG(seed, history)))
	}
}

func playPark(t *testing.T, r *rand.Rand) {
	t.Helper()
	dir := t.TempDir()
	var mu goSync.Mutex
	var images []string // of the folder, after each commit of the step; guarded by mu
	taken := func() (taken []string) {
		mu.Lock()
		defer mu.Unlock()
		taken, images = images, nil
		return taken
	}
	o := wal.Options{Dir: dir}
	l := open(t, o.WithFaults(nil, func() error {
		to := t.TempDir()
		copyDir(t, to, dir)
		mu.Lock()
		defer mu.Unlock()
		images = append(images, to)
		return nil
	}))
	p, err := l.OpenCursor("s", "b")
	must(t, err)
	m := &parkModel{configured: true, next: 1, owed: make(map[uint64]bool)}
	appendOne(t, l, "s", "k", "x") // the log keeps no parked cursor of an empty stream
	m.append(1)
	must(t, l.Sync(t.Context())) // the cursor's entry too
	steps := []struct {
		name string
		do   func()
	}{
		{"append", func() {
			n := 1 + r.IntN(4)
			for i := range n {
				appendOne(t, l, "s", fmt.Sprint(r.IntN(5)), strings.Repeat("x", i))
			}
			m.append(uint64(n))
		}},
		{"deliver", func() {
			if !m.configured || len(m.owed) == 0 {
				return
			}
			to := m.next - r.Uint64N(3)
			add, moved := wal.Ledger{}, make(map[uint8]wal.Progress)
			for _, e := range readAll(t, l, "s", 1, wal.AllLanes) {
				if e.Offset < to && m.owed[e.Offset] {
					add.Delivered.Add(countOf(&e))
					delete(m.owed, e.Offset)
					m.sent++
				}
			}
			for lane := range uint8(wal.Lanes) {
				moved[lane] = wal.Progress{Checkpoint: to}
			}
			must(t, p.Settle(wal.Settlement{Lanes: moved, Add: add}))
		}},
		{"park", func() {
			m.configured = false
			m.start()
			p.Park()
		}},
		{"return", func() {
			if m.configured {
				return
			}
			m.configured = true
			m.start()
			p, err = l.OpenCursor("s", "b")
			must(t, err)
		}},
		{"forget", func() {
			if m.configured {
				return
			}
			m.forgotten += uint64(len(m.owed))
			clear(m.owed)
			m.paused = false
			_, err := p.Forget(t.Context())
			must(t, err)
		}},
		{"pause", func() {
			if m.paused = !m.paused; m.paused {
				p.Pause(time.Now())
			} else {
				p.Pause(time.Time{})
			}
		}},
	}
	history := ""
	for range 14 {
		step := steps[r.IntN(len(steps))]
		history += " " + step.name
		before := m.clone()
		taken()
		step.do()
		must(t, l.Sync(context.Background()))
		if got := parkState(t, l, p); got != m.String() {
			t.Fatalf("%s: got %s, want %s", history, got, m)
		}
		for _, image := range taken() {
			killed := open(t, wal.Options{Dir: image})
			before.configured = m.configured
			before.start()
			if _, got := started(t, killed, m.configured); got != before.String() && got != m.String() && !between(got, before, m) {
				t.Fatalf("%s: got %s after a kill, want %s or %s", history, got, before, m)
			}
			must(t, killed.Close())
		}
	}
}

// between reports whether the state is that of a step that appends several events, when some of them are stored.
func between(got string, before, after *parkModel) bool {
	m := before.clone()
	for m.next < after.next {
		if m.append(1); got == m.String() {
			return true
		}
	}
	return false
}
