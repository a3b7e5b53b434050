package wal_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	goSync "sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

var bg = context.Background()

func TestClose_EndsAllCallsAndGoroutines(t *testing.T) {
	l, err := wal.Open(t.Context(), wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10, CommitLinger: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p, _ := l.OpenCursor("s", "d")
	var waiting goSync.WaitGroup
	for i := range 20 {
		ticket, err := l.Submit(bg, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", fmt.Sprint(i))}})
		if err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() {
			if _, err := ticket.Wait(bg); err != nil {
				t.Errorf("an append that came before Close: %v", err)
			}
		})
	}
	for range 2 {
		if err := l.Close(); err != nil { // a linger of an hour does not delay it
			t.Fatal(err)
		}
	}
	waiting.Wait()
	_, appendErr := l.Append(bg, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}})
	_, readErr := l.Read("s", 1, wal.AllLanes, 1000)
	for name, err := range map[string]error{"Append": appendErr, "Read": readErr, "Sync": l.Sync(bg)} {
		if !errors.Is(err, wal.ErrClosed) {
			t.Errorf("%s after Close: got %v, want ErrClosed", name, err)
		}
	}
	settleAll(l, p, wal.Count{}) // has no effect
	l.Stat()
	l.Streams()
	p.Stat()
	testkit.Eventually(t, time.Minute, func() error { // a goroutine that has reported its end may be about to return
		buf := make([]byte, 1<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "wal.(*") && !strings.Contains(stack, "testing.tRunner") {
				return fmt.Errorf("it still runs: %s", stack)
			}
		}
		return nil
	})
}

func TestChain_IsBrokenByASubmitThatGaveUp(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 2 << 20, OnFull: wal.Block})
	var held []*wal.Ticket
	for range 200 { // enough to wait for memory
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		ticket, err := l.Submit(ctx, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 1<<20)))}})
		cancel()
		if err != nil {
			break
		}
		held = append(held, ticket)
	}
	var chain wal.Chain
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := l.Submit(ctx, &wal.Batch{Stream: "s", Chain: &chain, Events: []wal.Event{event("k", string(make([]byte, 1<<20)))}}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want it to give up", err)
	}
	if _, err := l.Submit(bg, &wal.Batch{Stream: "s", Chain: &chain, Events: []wal.Event{event("k", "x")}}); !errors.Is(err, wal.ErrChainBroken) {
		t.Errorf("got %v, want ErrChainBroken", err)
	}
	ctx, cancel = context.WithCancel(bg)
	cancel()
	for _, ticket := range held {
		if _, err := ticket.Wait(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	// All appends were withdrawn or stored, and their memory is free again.
	if _, err := l.Append(bg, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "x")}}); err != nil {
		t.Error(err)
	}
}

func TestCheckpoint_IsWrittenWhileAppendsNeverCease(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), SegmentSize: 64 << 10})
	p, _ := l.OpenCursor("s", "d")
	stop := make(chan struct{})
	var group goSync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					appendOne(t, l, "s", "k", string(make([]byte, 5000)))
				}
			}
		})
	}
	kept := make(chan struct{})
	var once goSync.Once
	p.Keep(func(state []byte) {
		if string(state) == "settled" {
			once.Do(func() { close(kept) })
		}
	})
	for l.Stat().Segments < 3 {
		runtime.Gosched()
	}
	next := l.Next("s")
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: next}
	}
	p.Settle(wal.Settlement{Lanes: marks, State: []byte("settled")})
	select {
	case <-kept:
	case <-time.After(time.Minute):
		t.Error("no checkpoint in a minute of appends")
	}
	close(stop)
	group.Wait()
	sync(t, l) // the truncator has had its turn
	if got := l.Streams()[0].First; got == 1 {
		t.Error("nothing was truncated")
	}
}

func TestWaitSettled_LooksAtItsOwnLanesAndEvents(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	a := appendOne(t, l, "s", "mine", "x")
	b := appendOne(t, l, "s", "other", "x")
	type outcome struct {
		delivered bool
		err       error
	}
	wait := func(a wal.Appended) chan outcome {
		done := make(chan outcome, 1)
		go func() {
			delivered, err := l.WaitSettled(bg, "s", a)
			done <- outcome{delivered, err}
		}()
		return done
	}
	one := wait(a) // begins before there is a destination
	p, _ := l.OpenCursor("s", "d")
	l.OpenCursor("s", "gone")
	l.Cursors("s")[1].Close()
	for l.Waiting("s") == 0 {
		runtime.Gosched()
	}
	settle := func(key string, offset uint64, add wal.Ledger) {
		p.Settle(wal.Settlement{Lanes: map[uint8]wal.Progress{wal.LaneOf(key): {Checkpoint: offset + 1}}, Add: add})
	}
	settle("mine", a.First, wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 1}})
	if got := <-one; !got.delivered || got.err != nil {
		t.Errorf("got %+v, want it delivered", got)
	}
	two := wait(b)
	for l.Waiting("s") == 0 {
		runtime.Gosched()
	}
	settle("other", b.First, wal.Ledger{Dead: wal.Count{Events: 1, Bytes: 1}})
	if got := <-two; got.delivered || got.err != nil {
		t.Errorf("got %+v, want it settled and not delivered", got)
	}
	three := wait(appendOne(t, l, "s", "mine", "x"))
	for l.Waiting("s") == 0 {
		runtime.Gosched()
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := <-three; !errors.Is(got.err, wal.ErrClosed) {
		t.Errorf("got %+v when the log closes, want ErrClosed", got)
	}
}
