package wal_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	goSync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// commits is a hook that blocks every commit, and sends the stack of the goroutine that commits.
type commits struct {
	stacks chan string
	goOn   chan struct{}
}

func (c *commits) hook() error {
	stack := make([]byte, 16<<10)
	c.stacks <- string(stack[:runtime.Stack(stack, false)])
	<-c.goOn
	return nil
}

// allow lets one commit go on.
func (c *commits) allow() {
	<-c.stacks
	c.goOn <- struct{}{}
}

// wantWithin checks that at most that much of the bubble's time has passed.
func wantWithin(t *testing.T, start time.Time, most time.Duration) {
	t.Helper()
	if took := time.Since(start); took > most {
		t.Errorf("it took %v, want at most %v", took, most)
	}
}

func awaited(data string) *wal.Batch {
	return &wal.Batch{Stream: "s", Awaited: true, Events: []wal.Event{event("k", data)}}
}

// inBackground appends one event, and closes stored when Append has returned.
func inBackground(t *testing.T, l *wal.Log, data string) (stored chan struct{}) {
	stored = make(chan struct{})
	go func() {
		defer close(stored)
		if _, err := l.Append(bg, awaited(data)); err != nil {
			t.Error(err)
		}
	}()
	return stored
}

func TestCommit_LoneAppendIsCommittedByItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer wantWithin(t, time.Now(), 0)
		c := commits{make(chan string), make(chan struct{})}
		l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(c.hook, nil))
		synctest.Wait() // the committer looks at the log once after Open, and would commit the append
		alone := inBackground(t, l, "alone")
		if stack := <-c.stacks; !strings.Contains(stack, "wal.(*Log).Append(") {
			t.Errorf("it was committed on another goroutine than its own:\n%s", stack)
		}
		later, err := l.Submit(t.Context(), awaited("later"))
		must(t, err)
		go func() { _, _ = later.Wait(bg) }()
		synctest.Wait()
		c.goOn <- struct{}{}
		if stack := <-c.stacks; !strings.Contains(stack, "commit.(*Committer).Run(") {
			t.Errorf("what came during the commit was committed by an appender:\n%s", stack)
		}
		<-alone // before the second commit has ended
		c.goOn <- struct{}{}
		<-later.Done()
		if a, err := later.Result(); a.First != 2 || err != nil {
			t.Errorf("got %+v, %v, want it stored at offset 2", a, err)
		}
		go c.allow() // the commit of Close
	})
}

func TestCommit_AwaitedBatchNeedsItsOwnWaitOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer wantWithin(t, time.Now(), 0)
		l := open(t, wal.Options{Dir: t.TempDir()})
		synctest.Wait() // the committer looks at the log once after Open, and would take the batch
		given, err := l.Submit(t.Context(), awaited("given up"))
		must(t, err)
		synctest.Wait()
		select {
		case <-given.Done():
			t.Error("it was committed before it was waited for")
		default:
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := given.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v of a caller who has given up, want %v", err, context.Canceled)
		}
		<-given.Done() // its memory is free again
		before, err := l.Submit(t.Context(), awaited("before"))
		must(t, err)
		piped, err := l.Submit(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", "piped")}})
		must(t, err)
		<-piped.Done() // the committer commits it together with the earlier batch
		first, err := before.Wait(t.Context())
		must(t, err)
		if a, err := piped.Result(); first.First != 1 || a.First != 2 || err != nil {
			t.Errorf("got %+v, then %+v, %v, want offsets 1 and 2", first, a, err)
		}
	})
}

// A cursor that moves while appenders commit is on disk in time.
func TestCheckpoint_IsWrittenInTimeBesideAppendersThatCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer wantWithin(t, time.Now(), 2*wal.CheckpointInterval)
		c := commits{make(chan string), make(chan struct{})}
		l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(c.hook, nil))
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		kept := make(chan string, 1)
		p.Keep(func(state []byte) { kept <- string(state) })
		inBackground(t, l, "x")
		inBackground(t, l, "x")
		for moved := false; ; {
			select {
			case <-c.stacks:
				if !moved {
					p.Settle(wal.Settlement{State: []byte("settled")})
					moved = true
				}
				c.goOn <- struct{}{}
				continue
			case got := <-kept:
				if got != "settled" {
					t.Errorf("got the state %q", got)
				}
			}
			break
		}
		go c.allow() // the commit of Close
	})
}

// A panic on a caller's goroutine need not end the process: net/http recovers from it.
func TestCommit_PanicOnAnAppendersGoroutineFailsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, wal.Options{Dir: t.TempDir()}.WithFaults(func() error { panic("a bug") }, nil))
		synctest.Wait() // the committer looks at the log once after Open, and would commit the append
		func() {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			_, _ = l.Append(bg, awaited("x"))
		}()
		if _, err := l.Append(bg, awaited("y")); !errors.Is(err, wal.ErrFailed) {
			t.Errorf("got %v, want %v", err, wal.ErrFailed)
		}
	})
}

func TestClose_RacingAppendsAreStoredOrRejected(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		l, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 64 << 10})
		must(t, err)
		var group goSync.WaitGroup
		acked := make([]int, 4)
		begun := make(chan struct{}, 4*len(acked))
		for i := range acked {
			group.Go(func() {
				for {
					_, err := l.Append(bg, &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 3000)))}})
					if err != nil {
						if !errors.Is(err, wal.ErrClosed) {
							t.Error(err)
						}
						return
					}
					acked[i]++
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range cap(begun) {
			<-begun
		}
		must(t, l.Close())
		group.Wait()
		total := 0
		for _, n := range acked {
			total += n
		}
		wantSound(t, dir)
		if got := open(t, wal.Options{Dir: dir, SegmentSize: 64 << 10}).Next("s") - 1; got != uint64(total) {
			t.Errorf("got %d events, want the %d that were acked", got, total)
		}
	}
}
