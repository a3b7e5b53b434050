package shipper_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// answering is a sink that responds with a preset error or success.
type answering struct{ err atomic.Pointer[shipper.Error] }

func (a *answering) Shape() shipper.Shape {
	return shipper.Shape{Framing: shipper.FramingLines, WholeOrder: true, BatchRecords: 1, BilledStep: 1,
		MaxRecord: 1 << 20, MaxBatch: 1 << 20, AimRecord: 1 << 10, AimBatch: 1 << 10}
}

func (a *answering) Send(context.Context, []shipper.Record) shipper.Response {
	time.Sleep(10 * time.Millisecond)
	if err := a.err.Load(); err != nil {
		return shipper.Response{Err: err, Code: err.Code}
	}
	return shipper.Response{Results: make([]*shipper.Error, 1), Code: "200"}
}

func (a *answering) Close() error { return nil }

// said collects log lines.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// outageTest has shippers for many streams that share an endpoint and a log.
type outageTest struct {
	t     *testing.T
	log   *wal.Log
	said  said
	sinks []*answering
	ships []*shipper.Shipper
	ended chan error
}

func newOutageTest(t *testing.T, streams int) *outageTest {
	x := &outageTest{t: t, ended: make(chan error, streams)}
	var err error
	if x.log, err = wal.Open(t.Context(), wal.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	logger := hclog.New(&hclog.LoggerOptions{Output: &x.said, DisableTime: true})
	outages := shipper.NewOutages(x.log, logger)
	dead := deadletter.Open(t.TempDir(), deadletter.Options{})
	t.Cleanup(func() { dead.Close() })
	for i := range streams {
		place, err := x.log.OpenCursor(fmt.Sprint("s", i), "d")
		if err != nil {
			t.Fatal(err)
		}
		x.sinks = append(x.sinks, &answering{})
		ship := shipper.New(shipper.Options{Source: x.log, Cursor: place, Sink: x.sinks[i], Unpaced: true, Dead: dead,
			Endpoint: "https://there", Outages: outages, Logger: logger})
		x.ships = append(x.ships, ship)
		go func() { x.ended <- ship.Run(context.Background()) }()
	}
	return x
}

func (x *outageTest) add() { x.addLarge(1) }

// addLarge appends an event of so many bytes to each stream.
func (x *outageTest) addLarge(size int) {
	for i := range x.ships {
		b := &wal.Batch{Stream: fmt.Sprint("s", i), Events: []wal.Event{{Key: "k", Data: make([]byte, size), Time: 1}}}
		if _, err := x.log.Append(context.Background(), b); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *outageTest) answer(err *shipper.Error) {
	for _, s := range x.sinks {
		s.err.Store(err)
	}
}

func (x *outageTest) end() {
	for _, s := range x.ships {
		s.Finish()
	}
	for range x.ships {
		if err := <-x.ended; err != nil {
			x.t.Error(err)
		}
	}
	x.log.Close()
}

func (x *outageTest) want(text string, n int) {
	x.t.Helper()
	synctest.Wait() // a line may be about to be written
	if got := strings.Count(x.said.String(), text); got != n {
		x.t.Errorf("%q: got %d lines, want %d:\n%s", text, got, n, &x.said)
	}
}

func TestOutages_AreOneLineForAllDestinationsOfAnEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 20)
		x.answer(&shipper.Error{Class: shipper.Transient, Code: "connection", Text: "refused", Record: -1})
		x.addLarge(100 << 10)
		time.Sleep(50 * time.Second)
		x.want("[WARN]", 1)
		x.answer(&shipper.Error{Class: shipper.Transient, Code: "503", Record: -1}) // the same outage
		x.addLarge(100 << 10)
		time.Sleep(8 * time.Minute)
		x.want("does not take records", 1)
		x.want("still do not take records", 3) // after about 1, 3 and 7 minutes
		x.want("destinations=20", 3)
		x.want("events_waiting=40", 3)
		x.want("log_full_in=", 3)
		x.answer(nil)
		time.Sleep(time.Minute)
		x.want("[INFO]", 1)
		x.want("takes records again", 1)
		x.end()
	})
}

func TestOutages_AreToldAgainEveryHourAtTheRarest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 1)
		x.answer(&shipper.Error{Class: shipper.Operator, Code: "denied", Record: -1})
		x.add()
		time.Sleep(8 * time.Hour)
		if n := strings.Count(x.said.String(), "still do not"); n < 11 || n > 14 {
			t.Errorf("got %d summaries in eight hours, want one an hour", n)
		}
		x.want("log_full_in=", 0) // at one byte a day it is never full
		x.answer(nil)
		x.end()
	})
}

// An error that an operator must act on is an outage of its own once it has lasted: with a line of its remedy, however its
// text changes, and one for its end.
func TestOutages_NameTheRemedyOfALastingError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 2)
		x.sinks[0].err.Store(&shipper.Error{Class: shipper.Transient, Code: "503", Record: -1})
		skewed := func(text string) {
			x.sinks[1].err.Store(&shipper.Error{Class: shipper.Transient, Code: "InvalidSignature", Text: text, Remedy: "set the clock", Record: -1})
		}
		skewed("at 10:00")
		x.add()
		time.Sleep(50 * time.Second)
		x.want("does not take records", 2)
		x.want(`class=operator error="InvalidSignature: at 10:00; set the clock"`, 1)
		skewed("at 10:01")
		time.Sleep(time.Minute)
		x.want("does not take records: ", 2)
		x.answer(nil)
		time.Sleep(time.Minute)
		x.want("takes records again", 2)
		x.end()
	})
}

func TestOutages_KeepDifferentCausesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 3)
		missing := &shipper.Error{Class: shipper.Operator, Code: "ResourceNotFound", Text: "stream a", Record: -1}
		other := &shipper.Error{Class: shipper.Operator, Code: "ResourceNotFound", Text: "stream b", Record: -1}
		x.sinks[0].err.Store(missing)
		x.sinks[1].err.Store(other)
		x.add()
		time.Sleep(10 * time.Second)
		x.want("[WARN]", 2)
		x.sinks[0].err.Store(nil)
		time.Sleep(time.Minute)
		x.want("takes records again", 1)
		x.sinks[1].err.Store(nil)
		x.end()
		x.want("takes records again", 2)
	})
}

func TestOutages_EndWithoutALineWhenTheDestinationGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 2)
		x.answer(&shipper.Error{Class: shipper.Transient, Code: "connection", Record: -1})
		x.add()
		time.Sleep(time.Second)
		x.ships[0].Halt(t.Context())
		x.answer(nil)
		time.Sleep(time.Minute)
		x.want("[INFO]", 1)
		x.end()
	})
}

func TestDeadLetters_AreALineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 1)
		x.answer(&shipper.Error{Class: shipper.Poison, Code: "no", Record: -1})
		for range 60 {
			x.add()
			time.Sleep(3 * time.Second)
		}
		x.end()
		lines := regexp.MustCompile(`moved to dead letters: .*events=(\d+)`).FindAllStringSubmatch(x.said.String(), -1)
		sum := 0
		for _, l := range lines {
			n, _ := strconv.Atoi(l[1])
			sum += n
		}
		if len(lines) < 3 || len(lines) > 5 || sum != 60 {
			t.Errorf("got %d lines about %d events in three minutes, want 4 about 60:\n%s", len(lines), sum, &x.said)
		}
	})
}

// meddling is a sink that settles, with the shipper's cursor, all events appended so far. No sink may do that.
type meddling struct {
	answering
	log   *wal.Log
	place *wal.Cursor
}

func (m *meddling) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	marks := make(map[uint8]wal.Progress)
	for lane := range uint8(wal.Lanes) {
		marks[lane] = wal.Progress{Checkpoint: m.log.Next(m.place.Stream())}
	}
	if err := m.place.Settle(wal.Settlement{Lanes: marks, Add: wal.Ledger{Delivered: m.place.Stat().Pending}}); err != nil {
		panic(err)
	}
	return m.answering.Send(ctx, batch)
}

// A settlement that does not match the log's ledger is logged with the stream and the destination: once, and then once
// a minute.
func TestSettlement_ThatTheLogCannotTakeIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newOutageTest(t, 0)
		place, err := x.log.OpenCursor("s0", "d")
		if err != nil {
			t.Fatal(err)
		}
		sink := &meddling{log: x.log, place: place}
		x.ships = append(x.ships, shipper.New(shipper.Options{Source: x.log, Cursor: place, Sink: sink, Unpaced: true,
			Logger: hclog.New(&hclog.LoggerOptions{Output: &x.said, DisableTime: true})}))
		x.ended = make(chan error, 1)
		go func() { x.ended <- x.ships[0].Run(context.Background()) }()
		for range 10 {
			x.add()
			time.Sleep(2 * time.Second)
		}
		x.want("internal fault", 1)
		x.want("stream=s0 destination=d", 1)
		time.Sleep(time.Minute)
		x.want("settlements=9", 1)
		if st := place.Stat(); st.Pending.Events != 0 || st.Delivered.Events != 10 {
			t.Errorf("got %+v, want each event counted once", st)
		}
		x.end()
	})
}
