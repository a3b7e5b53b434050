package queue_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/standpipe/standpipe/wal/internal/queue"
)

func TestWork_RunsAllInOrderBeforeFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.NewWork()
		var got, want []int
		for i := range 100 {
			want = append(want, i)
			q.Add(func() { got = append(got, i) })
			if i == 50 {
				go q.Run()
				synctest.Wait()
				if len(got) != 51 {
					t.Fatalf("got %d run, want 51", len(got))
				}
			}
		}
		if q.Finish(); !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

func TestPending_IsDoneOnceItsValuesArePopped(t *testing.T) {
	var q queue.Pending[string]
	if !q.Empty() || !q.Done(q.End()) {
		t.Error("an empty queue is not done")
	}
	q.Push("a")
	q.Push("b")
	end := q.End()
	q.Push("c")
	for _, want := range []string{"a", "b"} {
		if q.Done(end) {
			t.Errorf("done before %s", want)
		}
		if got := q.Pop(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if !q.Done(end) || q.Empty() || q.Done(q.End()) {
		t.Errorf("got done %v, empty %v, all done %v", q.Done(end), q.Empty(), q.Done(q.End()))
	}
}

func TestSignal_WakesAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s queue.Signal
		s.Wake() // no goroutine waits
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { <-s.Wait() })
		}
		synctest.Wait()
		s.Wake()
		group.Wait()
		select {
		case <-s.Wait():
			t.Error("a Wait after the Wake is woken")
		default:
		}
	})
}

func TestPoke_IsKeptUntilItIsReceived(t *testing.T) {
	ch := make(chan struct{}, 1)
	queue.Poke(ch)
	queue.Poke(ch)
	if <-ch; len(ch) != 0 {
		t.Error("two pokes count twice")
	}
}
