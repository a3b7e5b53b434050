package wal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/wal"
)

// numberedOf returns a batch of producer p.
func numberedOf(stream string, sequence uint64, data string) *wal.Batch {
	return &wal.Batch{Stream: stream, ProducerID: "p", ProducerSequence: sequence, Events: []wal.Event{event("k", data)}}
}

// wantRepeated sends a stored batch again, and wants its position at once.
func wantRepeated(t *testing.T, l *wal.Log, b *wal.Batch, first uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, awaited := range []bool{false, true} {
		again := *b
		again.Awaited = awaited
		ticket, err := l.Submit(ctx, &again)
		if err != nil {
			t.Errorf("submit: %v", err)
			continue
		}
		a, err := ticket.Wait(ctx)
		if want := (wal.Appended{First: first, Count: len(b.Events), Duplicate: true}); err != nil || a != want {
			t.Errorf("got %+v, %v, want %+v", a, err, want)
		}
	}
}

// Appends wait for a full log. A batch that is stored already needs no bytes, so it waits for none of them, however many
// there are; a batch that must be rejected waits neither.
func TestResend_DoesNotWaitBehindAppendsOfAFullLog(t *testing.T) {
	for _, waiting := range []int{1, 40} { // 40 are more than may be under way
		synctest.Test(t, func(t *testing.T) {
			o := wal.Options{Dir: t.TempDir(), MaxSize: 8 << 20}
			l := open(t, o)
			defer l.Close()
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			stored := numberedOf("s", 1, "first")
			_, err = l.Append(t.Context(), stored)
			must(t, err)
			large := string(make([]byte, 600<<10))
			fill(t, l, "s", len(large), 1)
			l.SetLimits(wal.Limits{MaxSize: o.MaxSize, OnFull: wal.Block})
			acks := make(chan error, waiting)
			for range waiting {
				go func() {
					_, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{event("k", large)}})
					acks <- err
				}()
			}
			synctest.Wait()
			wantRepeated(t, l, stored, 1)
			if waiting == 1 {
				rejected := numberedOf("s", 2, "second")
				rejected.Rejection = errors.New("not now")
				if _, err := l.Append(t.Context(), rejected); !errors.Is(err, rejected.Rejection) {
					t.Errorf("got %v, want the rejection", err)
				}
			}
			if len(acks) > 0 {
				t.Errorf("got %d appends that did not wait: %v", len(acks), <-acks)
			}
			for range waiting {
				settleAll(l, p, p.Stat().Pending)
				must(t, <-acks)
			}
		})
	}
}

// A stream is at its own max_size, and its appends wait. A batch that is stored already is answered at once, and makes the
// destinations drop nothing.
func TestResend_DoesNotWaitForTheBudgetOfItsStream(t *testing.T) {
	for _, mode := range []wal.OnFull{wal.Block, wal.DropOldest} {
		synctest.Test(t, func(t *testing.T) {
			l := open(t, wal.Options{Dir: t.TempDir()})
			defer l.Close()
			l.SetPolicy(func(string) wal.Policy { return wal.Policy{MaxSize: 100_000, OnFull: mode} })
			p, err := l.OpenCursor("s", "d")
			must(t, err)
			stored := numberedOf("s", 1, strings.Repeat("x", 60_000))
			_, err = l.Append(t.Context(), stored)
			must(t, err)
			wantRepeated(t, l, stored, 1)
			if got := p.Floor(); got != (wal.Floor{}) {
				t.Errorf("%s: got %+v to drop", mode, got)
			}
			done := make(chan wal.Appended)
			go func() {
				a, err := l.Append(t.Context(), numberedOf("s", 2, strings.Repeat("y", 60_000)))
				if err != nil {
					t.Error(err)
				}
				done <- a
			}()
			synctest.Wait()
			settleAll(l, p, p.Stat().Pending)
			if a := <-done; a != (wal.Appended{First: 2, Count: 1}) {
				t.Errorf("got %+v of the next batch", a)
			}
		})
	}
}

// A rejected batch may repeat one that waits for a full log. It waits too, and gets the position of that.
func TestResend_OfABatchThatWaitsIsNotRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := wal.Options{Dir: t.TempDir(), MaxSize: wal.MinMaxSize}
		l := open(t, o)
		defer l.Close()
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		data := strings.Repeat("x", 20<<10)
		fill(t, l, "s", len(data), 1)
		l.SetLimits(wal.Limits{MaxSize: o.MaxSize, OnFull: wal.Block})
		var results []string
		done := make(chan string)
		for i := range 3 {
			b := numberedOf("s", 1, data)
			if i > 0 {
				b.Rejection = errors.New("too large")
			}
			go func() {
				a, err := l.Append(t.Context(), b)
				done <- fmt.Sprint(a.Duplicate, err)
			}()
			synctest.Wait()
		}
		settleAll(l, p, p.Stat().Pending)
		for range 3 {
			results = append(results, <-done)
		}
		slices.Sort(results)
		if want := []string{"false <nil>", "true <nil>", "true <nil>"}; !slices.Equal(results, want) {
			t.Errorf("got %q, want %q", results, want)
		}
	})
}
