package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	goSync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
	"github.com/standpipe/standpipe/wal/inspect"
)

// snapshot takes a snapshot of the log in dir, and opens the copy.
func snapshot(t testing.TB, dir string) (copied *wal.Log, to string, report *inspect.SnapshotReport) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "copy")
	report, err := inspect.Snapshot(context.Background(), dir, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Verified.Damage {
		t.Errorf("found damage in the copy of a sound log: %v", d)
	}
	walkit.WantSound(t, to)
	return testkit.OpenLog(t, wal.Options{Dir: to, SegmentSize: 1 << 20}), to, report
}

func snapshotRounds() int {
	if testing.Short() {
		return 4
	}
	return 25
}

func TestSnapshot_HoldsWhatWasAckedBeforeIt(t *testing.T) {
	for round := range snapshotRounds() {
		t.Run(fmt.Sprint(round), func(t *testing.T) { // each round has its own log, so that no log gets large
			dir := t.TempDir()
			l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 1 << 20})
			writers, stop := startWriters(t, l)
			time.Sleep(time.Duration(1+round%10) * 10 * time.Millisecond)
			acked := make(map[string]uint64)
			for _, w := range writers {
				acked[w.stream] = w.acked.Load()
			}
			copied, to, report := snapshot(t, dir)
			stop()
			if err := copied.Close(); err != nil {
				t.Error(err)
			}
			checkDump(t, to, acked, false)
			t.Logf("%d segments, %d bytes, exact %v", report.Segments, report.Bytes, report.Exact)
		})
	}
}

// A producer that numbers its batches sends its last batch to the copy again: the copy recognizes it.
func TestSnapshot_KnowsWhatProducersSent(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 512 << 10})
	send := func(l *wal.Log, producer string, n uint64) (wal.Appended, error) {
		return l.Append(context.Background(), &wal.Batch{Stream: "s", ProducerID: producer, ProducerSequence: n,
			Events: []wal.Event{{Key: "k", Data: fmt.Appendf(nil, "%0500d", n), Time: 1}}})
	}
	stop := make(chan struct{})
	var all goSync.WaitGroup
	sent := make([]atomic.Uint64, 4)
	for i := range sent {
		all.Go(func() {
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := send(l, fmt.Sprint("p", i), n); err != nil {
					t.Error(err)
					return
				}
				sent[i].Store(n)
			}
		})
	}
	for range snapshotRounds() {
		time.Sleep(20 * time.Millisecond)
		acked := make([]uint64, len(sent))
		for i := range sent {
			acked[i] = sent[i].Load()
		}
		copied, _, report := snapshot(t, dir)
		for i, n := range acked {
			if a, err := send(copied, fmt.Sprint("p", i), n); n > 0 && report.Exact && (err != nil || !a.Duplicate) {
				t.Errorf("producer %d sends batch %d again to the copy: got %+v, %v; want a duplicate", i, n, a, err)
			}
		}
	}
	close(stop)
	all.Wait()
}

// During the snapshot, destinations are added, settle, and store dead letters, and the log truncates and compacts
// segments. In the copy, every ledger adds up, no event is counted as lost, and every counted dead letter is there.
func TestSnapshot_HasLedgersThatAddUp(t *testing.T) {
	dir := t.TempDir()
	l := testkit.OpenLog(t, wal.Options{Dir: dir, SegmentSize: 256 << 10, MaxSize: 64 << 20})
	letters := deadletter.Open(dir, deadletter.Options{})
	defer letters.Close()
	l.OpenCursor("s", "stuck")
	stop := make(chan struct{})
	var all goSync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			l.Append(context.Background(), &wal.Batch{Stream: "s", Events: []wal.Event{{Key: fmt.Sprint(i % 50), Data: fmt.Appendf(nil, "%02000d", i), Time: 1}}})
			time.Sleep(time.Millisecond) // a log that is full after a few snapshots takes no part in the rest, and is slow to copy
		}
	})
	all.Go(func() { settleAndReject(t, l, letters, stop) })
	for round := range snapshotRounds() {
		time.Sleep(100 * time.Millisecond)
		if _, err := l.OpenCursor("s", fmt.Sprint("new", round)); err != nil {
			t.Fatal(err)
		}
		copied, to, _ := snapshot(t, dir)
		for _, p := range copied.Cursors("s") {
			checkCursor(t, copied, p)
		}
		checkLetters(t, to, copied)
	}
	close(stop)
	all.Wait()
}

// settleAndReject acts as a destination that delivers all but every 200th event, which it stores as a dead letter.
func settleAndReject(t *testing.T, l *wal.Log, letters *deadletter.Queue, stop chan struct{}) {
	p, err := l.OpenCursor("s", "fast")
	if err != nil {
		t.Error(err)
		return
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for from := uint64(1); ; {
		select {
		case <-stop:
			return
		default:
		}
		chunk, err := l.Read("s", from, wal.AllLanes, 1+rng.IntN(200_000))
		if err != nil {
			t.Error(err)
			return
		}
		var add wal.Ledger
		for _, e := range chunk.Events {
			c := &add.Delivered
			if e.Offset%200 == 0 {
				c = &add.Dead
				if err := letters.Put(deadletter.Letter{Stream: "s", Destination: "fast", Event: e, Reason: "no", At: time.Now()}); err != nil {
					t.Error(err)
				}
			}
			c.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
		marks := make(map[uint8]wal.Progress)
		for lane := range uint8(wal.Lanes) {
			marks[lane] = wal.Progress{Checkpoint: chunk.Next}
		}
		p.Settle(wal.Settlement{Lanes: marks, Add: add})
		from = chunk.Next
		if chunk.End {
			time.Sleep(time.Millisecond)
		}
	}
}

// checkCursor checks that the pending count of a cursor's ledger equals the number of unsettled events that a reader
// finds.
func checkCursor(t *testing.T, l *wal.Log, p *wal.Cursor) {
	t.Helper()
	marks := p.Lanes()
	low := marks[0].Checkpoint
	for _, m := range marks {
		low = min(low, m.Checkpoint)
	}
	found := uint64(0)
	for _, e := range testkit.ReadAll(t, l, "s", low, wal.AllLanes) {
		if !marks[e.Lane].Done(e.Offset) {
			found++
		}
	}
	st := p.Stat()
	if st.Pending.Events != found {
		t.Errorf("%s: pending %d, and %d are in the log", p.Name(), st.Pending.Events, found)
	}
	if lost := st.Dropped[wal.DroppedCorrupt].Events; lost > 0 {
		t.Errorf("%s: %d events count as lost", p.Name(), lost)
	}
}

func checkLetters(t *testing.T, dir string, l *wal.Log) {
	t.Helper()
	letters := deadletter.Open(dir, deadletter.Options{})
	defer letters.Close()
	list, err := letters.List(context.Background(), deadletter.Query{Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	counted := uint64(0)
	for _, p := range l.Cursors("s") {
		counted += p.Stat().Dead.Events
	}
	if uint64(len(list)) < counted {
		t.Errorf("%d dead letters are counted, and %d are there", counted, len(list))
	}
}

func TestSnapshot_WritesNothingWhereSomethingIs(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	fillLog(t, dir)
	if err := os.WriteFile(filepath.Join(out, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := inspect.Snapshot(t.Context(), dir, out, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a folder that has a file: got %v, want %v", err, fs.ErrExist)
	}
	empty := t.TempDir()
	if _, err := inspect.Snapshot(t.Context(), t.TempDir(), empty, nil); !errors.Is(err, inspect.ErrNoLog) {
		t.Errorf("of a folder without a log: got %v, want %v", err, inspect.ErrNoLog)
	}
	if list, err := os.ReadDir(empty); err != nil || len(list) > 0 {
		t.Errorf("a failed copy left %v, %v", list, err)
	}
}
