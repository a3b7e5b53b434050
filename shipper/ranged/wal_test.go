package ranged_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// rig is a log, a store, and a Shipper between them, in virtual time.
type rig struct {
	t     *testing.T
	opts  wal.Options
	log   *wal.Log
	store *store
	sink  *sink
	ship  *ranged.Shipper
	more  ranged.Options // beside the parts
	done  chan error
	lines said

	cursor *wal.Cursor
}

// said collects the lines of the agent log.
type said struct{ strings.Builder }

// noDead rejects dead letters: no test of a rig has any.
type noDead struct{ t *testing.T }

func (d noDead) Put(l deadletter.Letter) error {
	d.t.Errorf("got a dead letter: %+v", l)
	return nil
}

func newRig(t *testing.T, o wal.Options, limit int, age time.Duration) *rig {
	o.Dir = t.TempDir()
	r := &rig{t: t, opts: o, store: newStore(t)}
	r.sink = &sink{limit: limit, age: age, fault: func(string) fault { return fault{delay: 5 * time.Millisecond} }}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.log, err = wal.Open(context.Background(), r.opts); err != nil {
		r.t.Fatal(err)
	}
	if r.cursor, err = r.log.OpenCursor("s", "d"); err != nil {
		r.t.Fatal(err)
	}
	r.start()
}

func (r *rig) start() {
	r.sink = &sink{t: r.t, store: r.store, transactions: r.sink.transactions, limit: r.sink.limit, age: r.sink.age, fault: r.sink.fault,
		synced: func([]byte) bool { return true }}
	o := r.more
	o.Source, o.Cursor, o.Sink, o.Dead = r.log, r.cursor, r.sink, noDead{r.t}
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &r.lines, DisableTime: true})
	r.ship = ranged.New(o)
	r.done = make(chan error, 1)
	ship := r.ship
	go func() { r.done <- ship.Run(context.Background()) }()
}

// end waits for Run and closes the log.
func (r *rig) end() wal.CursorStat {
	r.t.Helper()
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
	st := r.cursor.Stat()
	if err := r.log.Close(); err != nil {
		r.t.Error(err)
	}
	return st
}

func (r *rig) finish() wal.CursorStat {
	r.t.Helper()
	r.ship.Finish()
	return r.end()
}

func (r *rig) append(n, size int) {
	r.t.Helper()
	for i := range n {
		testkit.AppendOne(r.t, r.log, "s", fmt.Sprint("k", i%50), string(make([]byte, size)))
	}
}

func (r *rig) want(text string, n int) {
	r.t.Helper()
	synctest.Wait()
	if got := strings.Count(r.lines.String(), text); got != n {
		r.t.Errorf("%q: got %d lines, want %d:\n%s", text, got, n, r.lines.String())
	}
}

// halt ends the shipper as a stop of the agent does.
func (r *rig) halt(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r.ship.Halt(ctx)
	r.end()
}

// Restarts at any time, and objects of any size: each event is stored once, and the ledger of the log has each once.
func TestShipper_OnTheLog(t *testing.T) {
	for seed, transactions := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			drawn := rand.New(rand.NewPCG(uint64(seed), 61))
			r := newRig(t, wal.Options{SegmentSize: 64 << 10}, 300, time.Second)
			r.sink.transactions = transactions
			for range 12 {
				r.append(drawn.IntN(300), 100)
				time.Sleep(time.Duration(drawn.IntN(1500)) * time.Millisecond)
				r.halt(time.Duration(drawn.IntN(20)) * time.Millisecond)
				r.open()
			}
			st := r.finish()
			if st.Pending.Events != 0 || st.Delivered != st.Appended || st.Requests == 0 {
				t.Errorf("got %+v, want all delivered", st)
			}
			for offset := uint64(1); offset <= st.Appended.Events; offset++ {
				if r.store.wrote[offset] != 1 {
					t.Errorf("event %d was stored %d times", offset, r.store.wrote[offset])
				}
			}
		})
	}
}

func TestRange_IsDueOrFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{}, 100, 10*time.Second)
		r.append(250, 10)
		time.Sleep(5 * time.Second)
		if st := r.cursor.Stat(); st.Delivered.Events != 200 {
			t.Errorf("got %d events after 5 s, want the two full ranges", st.Delivered.Events)
		}
		if r.ship.Stalled(time.Second) {
			t.Error("a range that waits for more events is no stall")
		}
		time.Sleep(6 * time.Second)
		if st := r.cursor.Stat(); st.Delivered.Events != 250 {
			t.Errorf("got %d events after 11 s, want all", st.Delivered.Events)
		}
		r.finish()
	})
}

// A log that an open range fills is emptied, though the range is neither full nor due.
func TestRange_IsSealedWhenTheLogIsCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{MaxSize: 2 << 20, SegmentSize: 256 << 10, OnFull: wal.Block}, 1<<30, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for i := range 200 { // 10 MiB
			b := &wal.Batch{Stream: "s", Events: []wal.Event{{Key: fmt.Sprint("k", i%50), Data: make([]byte, 50<<10)}}}
			if _, err := r.log.Append(ctx, b); err != nil {
				t.Errorf("append %d: %v, want the range to be sealed", i, err)
				break
			}
		}
		st := r.finish()
		if st.Delivered.Events != 200 {
			t.Errorf("got %+v", st)
		}
	})
}

// While the destination hangs, appends under drop_oldest wait seconds at most, and the ledger counts each event once.
func TestRange_DoesNotHoldBackDrops(t *testing.T) {
	for _, call := range []string{"recover", "add", "commit"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, wal.Options{MaxSize: 2 << 20, SegmentSize: 256 << 10, OnFull: wal.DropOldest}, 20, time.Second)
			var hangs atomic.Bool
			hangs.Store(true)
			r.sink.fault = func(now string) fault { return fault{hang: hangs.Load() && now == call} }
			r.halt(time.Second)
			r.open()
			started := time.Now()
			r.append(200, 50<<10)
			if took := time.Since(started); took > 60*time.Second {
				t.Errorf("%s: appending took %v", call, took)
			}
			hangs.Store(false)
			st := r.finish()
			if st.Settled() != st.Appended || st.Dropped[wal.DroppedFull].Events < 100 || st.Delivered.Events == 0 {
				t.Errorf("%s: got %+v", call, st)
			}
			for offset := uint64(1); offset <= st.Appended.Events; offset++ {
				if r.store.wrote[offset] > 1 {
					t.Errorf("event %d was stored %d times", offset, r.store.wrote[offset])
				}
			}
		})
	}
}

func TestRange_OfACorruptLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{SegmentSize: 64 << 10}, 1000, 0)
		r.sink.fault = func(string) fault { return fault{err: fails(shipper.Transient)} }
		r.halt(time.Second)
		r.open()
		r.append(400, 1000)
		r.halt(time.Second)
		spoil(t, r.opts.Dir)
		r.sink.fault = func(string) fault { return fault{} }
		r.open()
		st := r.finish()
		if st.Dropped[wal.DroppedCorrupt].Events == 0 || st.Settled() != st.Appended || st.Delivered.Events != uint64(len(r.store.wrote)) {
			t.Errorf("got %+v, want some dropped and the others delivered", st)
		}
	})
}

// A segment becomes unreadable at any time, while the sink holds a range or a request does not return after it was cut off.
// Each event counts once, and no event of a range that was delivered counts as lost.
func TestRange_OfALogThatIsDamagedMeanwhile(t *testing.T) {
	lost := uint64(0)
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			drawn := rand.New(rand.NewPCG(seed, 71))
			r := newRig(t, wal.Options{MaxSize: 3 << 20, SegmentSize: 64 << 10, OnFull: wal.DropOldest}, 20+drawn.IntN(300), time.Second)
			r.more.ReadBytes = 1 << (12 + drawn.IntN(8))
			var hangs atomic.Value
			hangs.Store("")
			r.sink.fault = func(now string) fault {
				f := fault{delay: 50 * time.Millisecond, hang: now == hangs.Load()}
				if f.hang && seed%2 == 0 {
					f.deaf = 20 * time.Second
				}
				return f
			}
			r.halt(time.Second)
			r.open()
			r.append(300+drawn.IntN(300), 1000)
			time.Sleep(time.Duration(drawn.IntN(3000)) * time.Millisecond)
			hangs.Store([]string{"", "add", "commit"}[seed%3])
			time.Sleep(time.Duration(drawn.IntN(3000)) * time.Millisecond)
			files, err := filepath.Glob(filepath.Join(r.opts.Dir, "wal", "*.seg"))
			testkit.Must(t, err)
			if n := len(files) - 2; n > 0 { // the last may be ready to follow the newest
				spoilFile(t, files[drawn.IntN(n)])
			}
			if seed%3 > 0 {
				r.append(600+drawn.IntN(600), 5000)
			}
			hangs.Store("")
			st := r.finish()
			lost += st.Dropped[wal.DroppedCorrupt].Events
			if st.Settled() != st.Appended || st.Pending != (wal.Count{}) {
				t.Errorf("seed %d: got %+v, want each event counted", seed, st)
			}
			r.want("internal fault", 0)
		})
	}
	if lost == 0 {
		t.Error("nothing was lost; nothing is tested")
	}
}

// A commit does not return after it was cut off, and events of its range are dropped. Others of them count as lost, since
// their segment is damaged meanwhile. The range was delivered all the same: only the rest of it counts as delivered.
func TestRange_ThatLostEventsWhileItWasCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{MaxSize: 3 << 20, SegmentSize: 64 << 10, OnFull: wal.DropOldest}, 300, time.Second)
		r.halt(time.Second)
		var hung atomic.Bool
		r.sink.fault = func(now string) fault {
			if now != "commit" || hung.Swap(true) {
				return fault{}
			}
			return fault{hang: true, stored: true, deaf: time.Hour}
		}
		r.open()
		r.append(300, 1000)
		time.Sleep(2 * time.Second)
		if !hung.Load() {
			t.Fatal("no commit is under way")
		}
		spoil(t, r.opts.Dir)
		lost := func() uint64 { return r.cursor.Stat().Dropped[wal.DroppedCorrupt].Events }
		for i := 0; lost() == 0 && i < 1000; i++ {
			r.append(1, 20_000)
			time.Sleep(time.Second)
		}
		st := r.cursor.Stat()
		if lost() == 0 || st.Delivered.Events > 0 || st.Checkpoint > 300 {
			t.Fatalf("got %+v, want a part of the range lost and none delivered", st)
		}
		time.Sleep(time.Hour)
		st = r.finish()
		if st.Settled() != st.Appended || st.Pending != (wal.Count{}) {
			t.Errorf("got %+v, want each event counted once", st)
		}
		r.want("internal fault", 0)
	})
}

// Events that counted as lost can be read again later, and the range that comes after them is discarded: they are not
// delivered, and count once.
func TestRange_LostEventsThatAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{SegmentSize: 64 << 10}, 1000, time.Second)
		r.halt(time.Second)
		var fails atomic.Bool
		fails.Store(true)
		r.sink.fault = func(now string) fault {
			if now != "commit" || !fails.Load() {
				return fault{}
			}
			return fault{err: &ranged.Error{Error: shipper.Error{Class: shipper.Transient, Code: "503", Record: -1}, Restart: true}}
		}
		r.open()
		r.append(400, 1000)
		heal := spoil(t, r.opts.Dir)
		time.Sleep(10 * time.Minute)
		lost := r.cursor.Stat().Dropped[wal.DroppedCorrupt].Events
		if lost == 0 {
			t.Fatal("nothing is lost")
		}
		heal()
		fails.Store(false)
		st := r.finish()
		if st.Settled() != st.Appended || st.Delivered.Events != 400-lost || uint64(len(r.store.wrote)) != 400-lost {
			t.Errorf("got %+v and %d events stored, want all but the %d lost ones", st, len(r.store.wrote), lost)
		}
		r.want("internal fault", 0)
	})
}

// spoil overwrites bytes in the middle of a sealed segment. heal writes the earlier bytes back.
func spoil(t *testing.T, dir string) (heal func()) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "wal", "*.seg"))
	if err != nil || len(segments) < 4 {
		t.Fatalf("got segments %v, %v", segments, err)
	}
	content, err := os.ReadFile(segments[1])
	testkit.Must(t, err)
	spoilFile(t, segments[1])
	return func() { testkit.Overwrite(t, segments[1], 0, content) }
}

func spoilFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := bytes.Repeat([]byte{0xff}, 1024)
	for at := int64(16 << 10); at < 48<<10; at += 4096 {
		if _, err := f.WriteAt(page, at+512); err != nil {
			t.Fatal(err)
		}
	}
}

func fails(class shipper.Class) *ranged.Error {
	return &ranged.Error{Error: shipper.Error{Class: class, Code: "drawn", Record: -1}}
}

func TestOutage_IsALineWhenItBeginsAndOneWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{}, 10, time.Second)
		var failing atomic.Bool
		failing.Store(true)
		r.sink.fault = func(call string) fault {
			if call == "commit" && failing.Load() {
				return fault{err: fails(shipper.Operator)}
			}
			return fault{}
		}
		r.halt(time.Second)
		r.open()
		r.append(25, 10)
		time.Sleep(50 * time.Second)
		r.want("does not take records", 1)
		if got := r.ship.Report(); got.State != shipper.Blocked || got.LastError != "drawn" || got.RetryAt.IsZero() {
			t.Errorf("got %+v, want blocked", got)
		}
		failing.Store(false)
		time.Sleep(time.Minute)
		r.want("takes records again", 1)
		if got := r.ship.Report(); got.State != shipper.Running || got.LastError != "" {
			t.Errorf("got %+v, want running", got)
		}
		r.finish()
	})
}

// Retry ends the delay after a failure.
func TestRetry_EndsTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{}, 10, time.Second)
		r.halt(time.Second)
		failed := false
		r.sink.fault = func(call string) fault {
			if call == "commit" && !failed {
				failed = true
				return fault{err: fails(shipper.Operator)}
			}
			return fault{}
		}
		r.open()
		r.append(25, 10)
		time.Sleep(5 * time.Second)
		if got := r.ship.Report(); got.State != shipper.Blocked || time.Until(got.RetryAt) < 10*time.Second {
			t.Fatalf("got %+v, want it blocked for a while", got)
		}
		r.ship.Retry()
		time.Sleep(5 * time.Second)
		if st := r.cursor.Stat(); st.Delivered.Events != 25 {
			t.Errorf("got %+v, want all delivered", st)
		}
		r.finish()
	})
}

// A halt commits a range that is sealed, and leaves any other to the next shipper.
func TestHalt_EndsTheRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{}, 10, 0)
		r.sink.fault = func(call string) fault {
			if call == "commit" {
				return fault{delay: 3 * time.Second}
			}
			return fault{}
		}
		r.halt(time.Second)
		r.open()
		r.append(15, 10)
		time.Sleep(time.Second) // the Commit of the first range is under way
		started := time.Now()
		r.halt(10 * time.Second)
		if st := r.cursor.Stat(); st.Delivered.Events != 10 || time.Since(started) > 3*time.Second {
			t.Errorf("got %+v after %v, want the sealed range delivered", st, time.Since(started))
		}
		r.open()
		time.Sleep(time.Second)
		started = time.Now()
		r.halt(time.Second)
		if st := r.cursor.Stat(); st.Pending.Events != 5 || time.Since(started) > 2*time.Second {
			t.Errorf("got %+v after %v, want the other range pending", st, time.Since(started))
		}
	})
}

func TestBandwidth_LimitsRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{}, 1<<30, time.Second)
		r.halt(time.Second)
		r.more.Link = shipper.NewLink(100 << 10)
		r.open()
		started := time.Now()
		r.append(1000, 1<<10)
		time.Sleep(3 * time.Second)
		if got := r.ship.Report(); got.Waits != shipper.WaitBandwidth {
			t.Errorf("got %+v, want it to wait for bandwidth", got)
		}
		r.finish()
		if took := time.Since(started); took < 7*time.Second || took > 15*time.Second {
			t.Errorf("1,000 KiB at 100 KiB/s took %v", took)
		}
	})
}

// A range was delivered, and the agent ended before it was settled. Then a part of it cannot be read any more: all of it
// counts as delivered.
func TestShipper_CountsHeldEventsThatCannotBeReadAsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, wal.Options{SegmentSize: 64 << 10}, 300, time.Second)
		r.sink.fault = func(now string) fault {
			if now != "commit" {
				return fault{}
			}
			return fault{hang: true, stored: true}
		}
		r.halt(time.Second)
		r.open()
		payload := func(i int) string { return fmt.Sprintf("event %0990d", i) }
		for i := range 300 {
			testkit.AppendOne(r.t, r.log, "s", fmt.Sprint("k", i%50), payload(i))
		}
		time.Sleep(2 * time.Second)
		r.halt(time.Second)
		if len(r.store.wrote) != 300 {
			t.Fatalf("got %d events stored, want 300", len(r.store.wrote))
		}
		segments, err := filepath.Glob(filepath.Join(r.opts.Dir, "wal", "*.seg"))
		testkit.Must(t, err)
		content, err := os.ReadFile(segments[1])
		testkit.Must(t, err)
		found := 0
		for i := range 300 {
			if at := bytes.Index(content, []byte(payload(i))); at > 0 && i%7 == 0 {
				testkit.Overwrite(t, segments[1], int64(at)+500, []byte("damaged"))
				found++
			}
		}
		if found < 2 {
			t.Fatalf("got %d events damaged", found)
		}
		r.sink.fault = func(string) fault { return fault{} }
		r.open()
		r.append(100, 1000)
		st := r.finish()
		if st.Delivered != st.Appended || st.Delivered.Events != 400 {
			t.Errorf("got %+v, want all delivered", st)
		}
	})
}
