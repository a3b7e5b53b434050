package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/inspect"
)

// These helpers are in packages of their own because the tests of other packages use them too.
var (
	open       = testkit.OpenLog
	appendOne  = testkit.AppendOne
	readAll    = testkit.ReadAll
	must       = testkit.Must
	memoryDir  = testkit.MemoryDir
	overwrite  = testkit.Overwrite
	fileLength = testkit.FileLength
	notTested  = testkit.NotTested
	heap       = testkit.HeapInUse

	place        = walkit.Place
	settleAll    = walkit.SettleAll
	settleLanes  = walkit.SettleLanes
	advance      = walkit.Advance
	sync         = walkit.Sync
	verify       = walkit.Verify
	wantSound    = walkit.WantSound
	segmentFiles = walkit.SegmentFiles
	edit         = walkit.Edit
)

const boltPage = walkit.BoltPage

func event(key, data string) wal.Event {
	return wal.Event{Key: key, Data: []byte(data), Time: 1}
}

func TestAppend_EventsAreReadBackAlsoAfterAReopen(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	want := wal.Event{Key: "k1", Data: []byte("payload"), Time: 42, Attributes: map[string]string{"a": "1", "b": "2"}}
	got, err := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{want, event("k2", "")}})
	if err != nil || got != (wal.Appended{First: 1, Count: 2}) {
		t.Fatalf("got %+v, %v, want offsets 1 and 2", got, err)
	}
	for range 2 {
		events := readAll(t, l, "s", 1, wal.AllLanes)
		if len(events) != 2 {
			t.Fatalf("got %d events, want 2", len(events))
		}
		e := events[0]
		if e.Key != want.Key || string(e.Data) != "payload" || e.Time != 42 || len(e.Attributes) != 2 || e.Attributes["b"] != "2" || e.Offset != 1 {
			t.Errorf("got %+v, want %+v at 1", e, want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, wal.Options{Dir: dir})
	}
	if got := appendOne(t, l, "s", "k", "x").First; got != 3 {
		t.Errorf("got offset %d after a reopen, want 3", got)
	}
}

func TestRead_OfSomeLanesGetsTheirEventsOnly(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir()})
	for i := range 300 {
		appendOne(t, l, "s", fmt.Sprint("key", i%40), fmt.Sprint(i))
	}
	lane := wal.LaneOf("key7")
	events := readAll(t, l, "s", 1, wal.LaneSet(0).With(lane))
	want := 0
	for i := range 300 {
		if wal.LaneOf(fmt.Sprint("key", i%40)) == lane {
			want++
		}
	}
	if len(events) != want {
		t.Errorf("got %d events of lane %d, want %d", len(events), lane, want)
	}
}

func TestTruncation_OnceEveryDestinationIsDone(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
	a, _ := l.OpenCursor("s", "a")
	b, _ := l.OpenCursor("s", "b")
	data := string(make([]byte, 10_000))
	var total wal.Count
	for i := range 200 {
		appendOne(t, l, "s", fmt.Sprint(i), data)
		total.Add(wal.Count{Events: 1, Bytes: 10_000})
	}
	before := l.Stat()
	if before.Segments < 5 {
		t.Fatalf("got %d segments, want at least 5", before.Segments)
	}
	settleAll(l, a, total)
	sync(t, l)
	if got := l.Stat().Segments; got != before.Segments {
		t.Errorf("got %d segments while one destination is behind, want %d", got, before.Segments)
	}
	settleAll(l, b, total)
	sync(t, l)
	if got := l.Stat(); got.Segments != 1 || got.Bytes > before.Bytes/4 {
		t.Errorf("got %+v once all is settled, want one segment", got)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "wal", "*"))
	if len(files) > 3 {
		t.Errorf("got files %v, want one segment, its number, and at most the next that is made ready", files)
	}
	if got := l.Streams()[0]; got.Appended != total || got.Next != 201 {
		t.Errorf("got %+v, want %+v appended", got, total)
	}
}

func TestCursors_SurviveAReopen(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	p, _ := l.OpenCursor("s", "d")
	for i := range 10 {
		appendOne(t, l, "s", fmt.Sprint(i), "12345")
	}
	lane := wal.LaneOf("3")
	p.Settle(wal.Settlement{
		Lanes: map[uint8]wal.Progress{lane: {Checkpoint: 2, Settled: []wal.Run{{First: 4, Next: 5}}}},
		Add:   wal.Ledger{Delivered: wal.Count{Events: 1, Bytes: 5}, Requests: 3, Records: 2, BilledBytes: 5120, LastDelivery: time.Unix(9, 0)},
		State: []byte("state"),
	})
	p.SetLabel("firehose")
	want, marks := p.Stat(), p.Lanes()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, wal.Options{Dir: dir})
	p, _ = l.OpenCursor("s", "d")
	got := p.Stat()
	if got.Delivered != want.Delivered || got.Pending != (wal.Count{Events: 9, Bytes: 45}) || got.Requests != 3 ||
		!got.LastDelivery.Equal(want.LastDelivery) || got.BilledBytes != 5120 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if m := p.Lanes()[lane]; !m.Done(4) || m.Done(3) || m.Checkpoint != marks[lane].Checkpoint {
		t.Errorf("got mark %+v, want %+v", m, marks[lane])
	}
	if string(p.State()) != "state" || p.Label() != "firehose" {
		t.Errorf("got state %q and label %q", p.State(), p.Label())
	}
}

func TestProducer_ResendIsRecognized(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir})
	send := func(seq uint64, n int) (wal.Appended, error) {
		b := &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: seq}
		for range n {
			b.Events = append(b.Events, event("k", "x"))
		}
		return l.Append(t.Context(), b)
	}
	send(1, 3)
	appendOne(t, l, "s", "other", "y")
	send(4, 2)
	for range 2 {
		if got, err := send(1, 3); err != nil || got != (wal.Appended{First: 1, Count: 3, Duplicate: true}) {
			t.Errorf("got %+v, %v for the first batch sent again", got, err)
		}
		if got, err := send(4, 2); err != nil || got != (wal.Appended{First: 5, Count: 2, Duplicate: true}) {
			t.Errorf("got %+v, %v for the second batch sent again", got, err)
		}
		if _, err := send(9, 1); !errors.Is(err, wal.ErrSequence) {
			t.Errorf("got %v for a gap, want ErrSequence", err)
		}
		l.Close()
		l = open(t, wal.Options{Dir: dir})
	}
	if got, err := send(6, 1); err != nil || got.First != 7 {
		t.Errorf("got %+v, %v, want offset 7", got, err)
	}
}

func TestFull_LogRejectsAndAcceptsAgain(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 2 << 20})
	p, _ := l.OpenCursor("s", "d")
	batch := &wal.Batch{Stream: "s", Events: []wal.Event{event("k", string(make([]byte, 50_000)))}}
	var n uint64
	for {
		if _, err := l.Append(t.Context(), batch); err != nil {
			if !errors.Is(err, wal.ErrFull) {
				t.Fatal(err)
			}
			break
		}
		n++
	}
	if st := l.Stat(); st.Bytes > st.MaxBytes || !l.Full() {
		t.Errorf("got %+v, full %v", st, l.Full())
	}
	settleAll(l, p, wal.Count{Events: n, Bytes: n * 50_000})
	sync(t, l)
	if _, err := l.Append(t.Context(), batch); err != nil {
		t.Errorf("got %v once there is room", err)
	}
	if l.Full() {
		t.Error("still full")
	}
}

func TestChain_AppendsOfABrokenOneAreNotStored(t *testing.T) {
	l := open(t, wal.Options{Dir: t.TempDir(), MaxSize: 1 << 20})
	var chain wal.Chain
	big := &wal.Batch{Stream: "s", Chain: &chain, Events: []wal.Event{event("k", string(make([]byte, 1<<20)))}}
	if _, err := l.Append(t.Context(), big); !errors.Is(err, wal.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	small := &wal.Batch{Stream: "s", Chain: &chain, Events: []wal.Event{event("k", "x")}}
	if _, err := l.Append(t.Context(), small); !errors.Is(err, wal.ErrChainBroken) {
		t.Errorf("got %v, want ErrChainBroken", err)
	}
}

func TestLock_SecondHolderIsNamed(t *testing.T) {
	dir := t.TempDir()
	open(t, wal.Options{Dir: dir})
	var said bytes.Buffer
	_, err := wal.Open(t.Context(), wal.Options{Dir: dir, LockTimeout: time.Millisecond,
		Logger: hclog.New(&hclog.LoggerOptions{Output: &said})})
	if !errors.Is(err, wal.ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	want := fmt.Sprint("process ", os.Getpid())
	if !strings.Contains(err.Error(), want) || !strings.Contains(said.String(), want) {
		t.Errorf("got %q and %q, want both to name %q", err, &said, want)
	}
}

func TestSetAside_DamagedSegmentIsCounted(t *testing.T) {
	for _, which := range []string{"oldest", "newest"} {
		t.Run(which, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
			l.OpenCursor("s", "d")
			for i := range 100 {
				appendOne(t, l, "s", fmt.Sprint(i), string(make([]byte, 10_000)))
			}
			l.Close()
			segments := slices.DeleteFunc(inspectLog(t, dir).Segments, func(s inspect.SegmentInfo) bool { return len(s.Streams) == 0 })
			file := segments[0].Name
			if which == "newest" {
				file = segments[len(segments)-1].Name
			}
			if err := os.WriteFile(filepath.Join(dir, file), make([]byte, 100_000), 0o600); err != nil {
				t.Fatal(err)
			}
			l = open(t, wal.Options{Dir: dir, SegmentSize: 256 << 10})
			p, _ := l.OpenCursor("s", "d")
			st := p.Stat()
			held := uint64(len(readAll(t, l, "s", 1, wal.AllLanes)))
			if held == 0 || held >= 100 || st.Pending.Events != held || st.Dropped[wal.DroppedCorrupt].Events == 0 {
				t.Errorf("got %d events held, %+v", held, st)
			}
			if got := appendOne(t, l, "s", "k", "x"); got.First <= 100 {
				t.Errorf("got offset %d, which was used before", got.First)
			}
		})
	}
}
