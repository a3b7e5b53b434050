package rangedtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/wal"
)

// position is the stored part of a cursor.
type position struct {
	next  uint64 // the first offset that is not settled
	state []byte
	dead  map[uint64]bool
}

func (p position) clone() position {
	return position{p.next, slices.Clone(p.state), maps.Clone(p.dead)}
}

// crash ends a life of the process.
type crash struct{}

// mostTries bounds the failures in a row, and the lives.
const mostTries = 100

// run ships events through the sinks of a target.
type run struct {
	t      *testing.T
	r      *rand.Rand
	target Target
	events []wal.Event

	memory, disk position
	unstored     bool   // dead letters that are not on the disk
	reached      uint64 // the last offset that a Commit may have delivered
	repeatable   int    // events that the destination may hold twice

	steps   int
	crashAt int // a step; 0: none

	mu     sync.Mutex
	cancel context.CancelFunc // ends the call under way
	met    Fault              // of that call
	failed int                // requests that have met a fault
}

func newRun(t *testing.T, target Target, seed uint64, n int) *run {
	t.Helper()
	target.check(t)
	r := &run{t: t, r: rand.New(rand.NewPCG(seed, 7)), target: target}
	r.memory = position{next: 1, dead: make(map[uint64]bool)}
	r.disk = r.memory.clone()
	offset := uint64(0)
	for range n {
		if offset++; r.r.IntN(5) == 0 {
			offset += r.r.Uint64N(4)
		}
		r.events = append(r.events, r.event(offset, r.r.IntN(120)))
	}
	return r
}

// event makes an event of about size bytes.
func (r *run) event(offset uint64, size int) wal.Event {
	var data []byte
	if r.target.Data != nil {
		data = r.target.Data(offset, size)
	} else {
		data = fmt.Appendf(nil, "%08d", offset)
		for len(data) < size {
			data = append(data, byte('a'+uint64(len(data))%26))
		}
	}
	key := []string{"0", "k", "ключ", "a/b c"}[offset%4]
	return wal.Event{Offset: offset, Lane: wal.LaneOf(key), Key: key, Time: int64(offset), Data: data}
}

// fail lets the n-th request from now fail.
func (r *run) fail(n int, f Fault) {
	r.target.Plan.set(n, f, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.met = f
		r.failed++
		if f == Hang || f == HangDone {
			r.cancel()
		}
	})
}

// call runs one call of the sink. The result is false if the call was cut off.
func (r *run) call(name string, do func(ctx context.Context)) bool {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	r.mu.Lock()
	r.cancel, r.met = cancel, None
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(ctx)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		r.t.Fatalf("%s has not returned a minute after its beginning", name)
	}
	return ctx.Err() == nil
}

// judge checks the error of a call. A fault decides on its class.
func (r *run) judge(call string, e *shipper.Error) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Code == "" || e.Text == "" {
		r.t.Errorf("%s: an error has the code %q and the text %q", call, e.Code, e.Text)
	}
	if r.met != None && !slices.Contains(classes[r.met], e.Class) {
		r.t.Errorf("%s: class %v after the fault %q, want %v: %v", call, e.Class, r.met, classes[r.met], e)
	}
}

// step is a point at which the process can be killed.
func (r *run) step() {
	if r.steps++; r.steps == r.crashAt {
		panic(crash{})
	}
}

// deliver ships all events, in as many lives as that takes.
func (r *run) deliver() {
	r.t.Helper()
	for range mostTries {
		if r.live() {
			return
		}
	}
	r.t.Fatalf("the events are not delivered after %d lives", mostTries)
}

// live runs one process. It returns true when all events are settled.
func (r *run) live() (done bool) {
	r.t.Helper()
	return r.liveOn(r.target.Open())
}

// liveOn is live on an open sink.
func (r *run) liveOn(s ranged.Sink) (done bool) {
	r.t.Helper()
	defer func() {
		if e := recover(); e != nil {
			if _, crashed := e.(crash); !crashed {
				panic(e)
			}
			r.repeatable += r.between(r.disk.next, r.reached)
			r.memory, r.unstored, done = r.disk.clone(), false, false
		}
		if err := s.Close(); err != nil {
			r.t.Errorf("close: %v", err)
		}
	}()
	for range mostTries {
		var next uint64
		var err *shipper.Error
		whole := r.call("Recover", func(ctx context.Context) { next, err = s.Recover(ctx, r.memory.next, r.memory.state) })
		r.step()
		switch {
		case err != nil:
			r.judge("Recover", err)
			if !whole {
				return false
			}
			continue
		case next < r.memory.next:
			r.t.Fatalf("Recover returned %d, before %d", next, r.memory.next)
		}
		r.settle(next)
		switch r.ranges(s) {
		case settled:
			return true
		case stopped:
			return false
		}
	}
	r.t.Fatalf("the sink restarts a range again and again")
	return false
}

// between returns the number of events from an offset to another.
func (r *run) between(from, to uint64) (n int) {
	for i := range r.events {
		if o := r.events[i].Offset; from <= o && o <= to {
			n++
		}
	}
	return n
}

func (r *run) settle(next uint64) {
	r.memory.next = max(r.memory.next, next)
	if r.r.IntN(3) == 0 {
		r.sync()
	}
}

func (r *run) sync() { r.disk, r.unstored = r.memory.clone(), false }

// end is the end of a series of ranges.
type end int

const (
	settled   end = iota // all events
	restarted            // Recover is next
	stopped              // the process ends
)

// ranges delivers one range after another.
func (r *run) ranges(s ranged.Sink) end {
	r.t.Helper()
	for {
		last, how := r.fill(s)
		if how != settled || last == 0 {
			return how
		}
		r.step()
		state := s.Seal()
		r.step()
		if state != nil {
			r.memory.state = slices.Clone(state)
		}
		if state != nil || r.unstored {
			r.sync()
		}
		r.step()
		if how := r.commit(s, last); how != settled {
			return how
		}
	}
}

// left returns the events that are not settled, from an offset.
func (r *run) left(from uint64) (all []wal.Event) {
	first := sort.Search(len(r.events), func(i int) bool { return r.events[i].Offset >= from })
	for _, e := range r.events[first:] {
		if !r.memory.dead[e.Offset] {
			all = append(all, e)
		}
	}
	return all
}

// fill adds events until the range is full, or a drawn number has it. It returns the last offset; 0: there are no more events.
func (r *run) fill(s ranged.Sink) (last uint64, how end) {
	r.t.Helper()
	next, want := r.memory.next, 1+r.r.IntN(2*len(r.events))
	for tries := 0; tries < mostTries; {
		left := r.left(next)
		if len(left) == 0 || want <= 0 {
			return last, settled
		}
		some := r.copied(left[:min(len(left), want, 1+r.r.IntN(10))])
		var n int
		var err *ranged.Error
		whole := r.call("Add", func(ctx context.Context) { n, err = s.Add(ctx, some) })
		if n < 0 || n > len(some) || err == nil && n == 0 && last == 0 {
			r.t.Fatalf("Add took %d of %d events into a range up to offset %d", n, len(some), last)
		}
		if n > 0 {
			last = some[n-1].Offset
			next = last + 1
		}
		want -= n
		for i := range some { // the sink keeps no reference
			for j := range some[i].Data {
				some[i].Data[j] = '!'
			}
		}
		r.step()
		switch {
		case err == nil && n < len(some):
			return last, settled
		case err == nil:
			tries = 0
			continue
		case !r.endsRange(s, "Add", err, whole):
			tries++
			continue
		case whole:
			return last, restarted
		}
		return last, stopped
	}
	r.t.Fatalf("Add fails %d times in a row", mostTries)
	return 0, stopped
}

// copied returns a copy of events.
func (r *run) copied(events []wal.Event) []wal.Event {
	all := slices.Clone(events)
	for i := range all {
		all[i].Data = slices.Clone(all[i].Data)
	}
	return all
}

// endsRange handles an error. It returns true if the range was discarded.
func (r *run) endsRange(s ranged.Sink, call string, err *ranged.Error, whole bool) bool {
	r.t.Helper()
	r.judge(call, &err.Error)
	if whole && !err.Restart && len(err.Rejected) == 0 {
		return false
	}
	r.call("Abort", s.Abort)
	r.repeatable += r.between(r.memory.next, r.reached)
	r.step()
	if len(err.Rejected) > 0 {
		r.bury(err.Rejected)
	}
	r.step()
	return true
}

// bury makes dead letters of rejected events.
func (r *run) bury(rejected []ranged.Rejection) {
	r.t.Helper()
	for _, e := range rejected {
		if e.Offset < r.memory.next || r.between(e.Offset, e.Offset) == 0 || r.memory.dead[e.Offset] || e.Reason == "" {
			r.t.Fatalf("event %d is rejected with the reason %q, and %d is the next one", e.Offset, e.Reason, r.memory.next)
		}
		r.memory.dead[e.Offset], r.unstored = true, true
	}
}

// commit delivers the sealed range, whose last event is at an offset.
func (r *run) commit(s ranged.Sink, last uint64) end {
	r.t.Helper()
	for range mostTries {
		var o ranged.Outcome
		var err *ranged.Error
		r.reached = max(r.reached, last)
		whole := r.call("Commit", func(ctx context.Context) { o, err = s.Commit(ctx) })
		r.step()
		switch {
		case err == nil:
			if o.State != nil {
				r.memory.state = slices.Clone(o.State)
			}
			r.settle(last + 1)
			if o.Sync {
				r.sync()
			}
			r.step()
			return settled
		case !r.endsRange(s, "Commit", err, whole):
		case whole:
			return restarted
		default:
			return stopped
		}
	}
	r.t.Fatalf("Commit fails %d times in a row", mostTries)
	return stopped
}

// check compares the destination with the events.
func (r *run) check(rejected map[uint64]bool) {
	r.t.Helper()
	if !maps.Equal(r.memory.dead, rejected) {
		r.t.Errorf("got dead letters %v, want %v", r.memory.dead, rejected)
	}
	var want []uint64
	for i := range r.events {
		if o := r.events[i].Offset; !rejected[o] {
			want = append(want, o)
		}
	}
	if r.target.Counted != nil {
		if got := r.target.Counted(); got < len(want) || got > len(want)+r.repeatable {
			r.t.Errorf("got %d events counted, want %d and at most %d of them twice", got, len(want), r.repeatable)
		}
		return
	}
	got := r.target.Stored()
	if r.target.Exact && !slices.Equal(got, want) {
		r.t.Errorf("got the offsets %v, want %v", got, want)
	}
	if n := len(got); !r.target.Exact {
		if slices.Sort(got); !slices.Equal(slices.Compact(got), want) || n > len(want)+r.repeatable {
			r.t.Errorf("got %d offsets, without repetitions %v, want %v, and at most %d of them twice", n, slices.Compact(got), want, r.repeatable)
		}
	}
	if r.target.Left != nil {
		r.target.Plan.set(0, None, nil)
		r.crashAt = 0
		if !r.live() {
			r.t.Error("the sink does not start again")
		}
		if n := r.target.Left(); n > 0 {
			r.t.Errorf("%d ranges are left at the destination after a start", n)
		}
	}
}
