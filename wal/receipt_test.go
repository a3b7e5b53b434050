package wal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// receipted is a log with receipts, and those that it should have.
type receipted struct {
	*wal.Log
	t    *testing.T
	o    wal.Options
	want map[string]map[uint64]wal.Receipt // by owner and ID
	next uint64
}

func newReceipted(t *testing.T, o wal.Options) *receipted {
	t.Helper()
	return &receipted{Log: open(t, o), t: t, o: o, want: make(map[string]map[uint64]wal.Receipt)}
}

// batch returns a batch of n events with a receipt.
func (r *receipted) batch(owner string, id uint64, n int) *wal.Batch {
	r.next++
	b := &wal.Batch{Stream: "s", Receipt: wal.Receipt{Owner: owner, ID: id, Sum: r.next}}
	for range n {
		b.Events = append(b.Events, event("k", string(make([]byte, 100))))
	}
	return b
}

// noted changes the wanted receipts as a batch that is stored there does.
func (r *receipted) noted(b *wal.Batch, at wal.Appended) {
	of := r.want[b.Receipt.Owner]
	if of == nil {
		of = make(map[uint64]wal.Receipt)
		r.want[b.Receipt.Owner] = of
	}
	want := b.Receipt
	want.Stream, want.First = b.Stream, at.First
	of[want.ID] = want
}

func (r *receipted) discard(owner string, ids ...uint64) error {
	ticket, err := r.Receipts().Discard(owner, ids...)
	if err != nil {
		return err
	}
	_, err = ticket.Wait(bg)
	return err
}

// appendAll stores n batches with the receipts of an owner.
func (r *receipted) appendAll(owner string, n int) {
	r.t.Helper()
	batches, tickets := make([]*wal.Batch, n), make([]*wal.Ticket, n)
	for id := range batches {
		batches[id] = r.batch(owner, uint64(id), 1)
		var err error
		tickets[id], err = r.Submit(bg, batches[id])
		must(r.t, err)
	}
	for id, ticket := range tickets {
		at, err := ticket.Wait(bg)
		must(r.t, err)
		r.noted(batches[id], at)
	}
}

func (r *receipted) check(owners int) {
	r.t.Helper()
	for o := range owners {
		owner := fmt.Sprint("owner", o)
		got := make(map[uint64]wal.Receipt)
		for _, of := range r.Receipts().Of(owner) {
			got[of.ID] = of
		}
		if !maps.Equal(got, r.want[owner]) {
			r.t.Fatalf("%s: got %v, want %v", owner, got, r.want[owner])
		}
	}
}

// A log with small segments stores, replaces and discards receipts, through failed commits, rolls, truncation and restarts.
func TestReceipts_AreOnTheDiskAsTheirBatches(t *testing.T) {
	const owners = 4
	seed := draw.Seed(t)
	draw := rand.New(rand.NewPCG(seed, 0))
	fails := false
	r := newReceipted(t, wal.Options{Dir: t.TempDir(), SegmentSize: 16 << 10}.WithFaults(func() error {
		if fails {
			return wal.ErrNoSpace
		}
		return nil
	}, nil))
	cursor, _ := r.OpenCursor("s", "d")
	for range 200 {
		owner, id := fmt.Sprint("owner", draw.IntN(owners)), draw.Uint64N(6)
		fails = draw.IntN(8) == 0
		switch draw.IntN(8) {
		case 0, 1, 2, 3:
			b := r.batch(owner, id, 1+draw.IntN(20))
			if at, err := r.Append(bg, b); err == nil {
				r.noted(b, at)
			} else if !errors.Is(err, wal.ErrFull) {
				t.Fatal(err)
			}
		case 4:
			err := r.discard(owner)
			if err == nil {
				delete(r.want, owner)
			} else if !errors.Is(err, wal.ErrFull) {
				t.Fatal(err)
			}
		case 5, 6:
			err := r.discard(owner, id, id+1)
			if err == nil {
				delete(r.want[owner], id)
				delete(r.want[owner], id+1)
			} else if !errors.Is(err, wal.ErrFull) {
				t.Fatal(err)
			}
		case 7:
			fails = false
			settleAll(r.Log, cursor, wal.Count{Events: r.Next("s") - 1})
			sync(t, r.Log)
			if draw.IntN(4) == 0 {
				cursor.Close()
				r.Close()
				r.Log = open(t, r.o)
				cursor, _ = r.OpenCursor("s", "d")
			}
		}
		r.check(owners)
	}
}

// A discard passes the appends of others that wait for free bytes, and none of its owner: that would store its receipt later, and a
// publish of the owner that reuses the ID would be taken for the stored one.
func TestReceipts_DiscardFollowsTheBatchesThatWait(t *testing.T) {
	r := newReceipted(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20, OnFull: wal.Block})
	cursor, err := r.OpenCursor("s", "d")
	must(t, err)
	var waits *wal.Ticket
	for !r.Full() {
		waits, err = r.Submit(bg, r.batch("owner0", 7, 100))
		must(t, err)
		for done := false; !done && !r.Full(); {
			select {
			case <-waits.Done():
				done = true
			case <-time.After(time.Millisecond):
			}
		}
	}
	ticket, err := r.Receipts().Discard("owner0", 7)
	must(t, err)
	must(t, r.discard("owner1")) // the discard before it was examined
	settleAll(r.Log, cursor, wal.Count{Events: r.Next("s") - 1})
	sync(t, r.Log)
	for _, ticket := range []*wal.Ticket{waits, ticket} {
		if _, err := ticket.Wait(bg); err != nil {
			t.Error(err)
		}
	}
	r.check(1)
}

// A discard takes the bytes that are reserved for a checkpoint.
func TestReceipts_AreDiscardedInAFullLog(t *testing.T) {
	r := newReceipted(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20})
	r.OpenCursor("s", "d")
	const n = 200
	r.appendAll("owner0", n)
	fill(t, r.Log, "s", 10_000, 1)
	fill(t, r.Log, "s", 10, 1)
	for id := range uint64(n) {
		if id%10 > 0 {
			if _, err := r.Receipts().Discard("owner0", id); err != nil {
				t.Fatal(err)
			}
		} else if err := r.discard("owner0", id); err != nil {
			t.Fatalf("receipt %d: %v", id, err)
		}
		delete(r.want["owner0"], id)
	}
	if err := r.discard("owner0", n); err != nil { // behind all others
		t.Fatal(err)
	}
	r.check(1)
	r.Close()
	r.Log = open(t, r.o)
	r.check(1)
}

// A discard behind an append that waits for free bytes does not wait.
func TestReceipts_AreDiscardedWhileAnAppendWaits(t *testing.T) {
	r := newReceipted(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20, OnFull: wal.Block})
	cursor, _ := r.OpenCursor("s", "d")
	first := r.batch("owner0", 1, 1)
	if _, err := r.Append(bg, first); err != nil {
		t.Fatal(err)
	}
	var last *wal.Ticket
	for range 400 {
		var err error
		if last, err = r.Submit(bg, r.batch("owner1", 1, 20)); err != nil {
			t.Fatal(err)
		}
	}
	for !r.Full() {
		time.Sleep(time.Millisecond)
	}
	if err := r.discard("owner0", 1); err != nil {
		t.Fatal(err)
	}
	r.check(1)
	for done := false; !done; {
		settleAll(r.Log, cursor, wal.Count{Events: r.Next("s") - 1})
		sync(t, r.Log)
		select {
		case <-last.Done():
			done = true
		default:
		}
	}
}

// The oldest receipts are evicted when all take more than their part of the state.
func TestReceipts_AreBounded(t *testing.T) {
	r := newReceipted(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20})
	const n = 1000
	r.appendAll("owner0", n)
	kept := r.Receipts().Of("owner0")
	if len(kept) < 50 || len(kept) == n || kept[len(kept)-1].ID != n-1 || kept[0].ID != n-uint64(len(kept)) {
		t.Errorf("got %d, from %d to %d", len(kept), kept[0].ID, kept[len(kept)-1].ID)
	}
	r.Close()
	r.Log = open(t, r.o)
	if again := r.Receipts().Of("owner0"); !slices.Equal(again, kept) {
		t.Errorf("got %d after a restart, want the same %d", len(again), len(kept))
	}
}

// A copy of the log may be older than the producers' IDs: it has none of the receipts, also after another restart.
func TestReceipts_AreNotInACopy(t *testing.T) {
	onlyLinux(t)
	dir := t.TempDir()
	r := newReceipted(t, wal.Options{Dir: filepath.Join(dir, "a")})
	if _, err := r.Append(bg, r.batch("owner0", 1, 1)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.o.Dir = filepath.Join(dir, "b")
	copyDir(t, r.o.Dir, filepath.Join(dir, "a"))
	for range 2 {
		r.Log = open(t, r.o)
		r.check(1)
		r.Close()
	}
}
