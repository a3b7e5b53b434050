package wal_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

func TestAStuckDestinationKeepsItsOwnEventsOnly(t *testing.T) {
	o := wal.Options{Dir: t.TempDir(), SegmentSize: 256 << 10, MaxSize: 4 << 20}
	l := open(t, o)
	stuck, _ := l.Place("small", "stuck")
	p, _ := l.Place("large", "d")
	data := string(make([]byte, 4000))
	var small, large wal.Count
	for i := range 30 { // in every segment a little that is stuck
		b := &wal.Batch{Stream: "large"}
		for range 20 {
			b.Events = append(b.Events, event("k", data))
		}
		if _, err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		appendOne(t, l, "small", fmt.Sprint(i), fmt.Sprint("stuck ", i))
		small.Add(wal.Count{Events: 1, Bytes: uint64(len(fmt.Sprint("stuck ", i)))})
		large.Add(wal.Count{Events: 20, Bytes: 20 * 4000})
	}
	before := l.Stat()
	settleAll(l, p, large)
	if before.Bytes < before.MaxBytes/2 {
		t.Fatalf("got %+v, want more than half of it used", before)
	}
	for l.Stat().Bytes > before.Bytes*3/4 { // one segment is rewritten after each checkpoint
		stuck.Settle(wal.Settlement{Add: wal.Ledger{Requests: 1}})
		sync(t, l)
		runtime.Gosched()
	}
	for range 2 {
		if got := readAll(t, l, "small", 1, wal.AllLanes); len(got) != 30 || string(got[29].Data) != "stuck 29" {
			t.Errorf("got %d events of the stuck stream, want 30", len(got))
		}
		if st := l.Places("small")[0].Stat(); st.Pending != small {
			t.Errorf("got %+v pending, want %+v", st.Pending, small)
		}
		late, _ := l.Place("large", "late")
		if st := late.Stat(); st.Appended != large || st.Pending.Events != uint64(len(readAll(t, l, "large", 1, wal.AllLanes))) {
			t.Errorf("got %+v for a new destination", st)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(o.Dir, "wal", "*.new")); len(left) > 0 {
			t.Errorf("got %v left", left)
		}
		l = open(t, o)
	}
}
