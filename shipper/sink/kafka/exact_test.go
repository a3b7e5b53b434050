package kafka_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

var _ ranged.Sink = (*kafka.Exact)(nil)

func openExact(t *testing.T, o kafka.Options, change ...func(*kafka.ExactOptions)) *kafka.Exact {
	t.Helper()
	all := kafka.ExactOptions{Options: o, Destination: "bus"}
	for _, c := range change {
		c(&all)
	}
	s, err := kafka.NewExact(t.Context(), all)
	testkit.Must(t, err)
	return s
}

// agent delivers events as the runner of package ranged does.
type agent struct {
	*kafka.Exact
	t      *testing.T
	events []event         // of the log; offset i+1
	from   uint64          // the first that is not settled
	span   int             // events of a range
	killed context.Context // ends when the agent is killed; nil: it is not
}

func (a *agent) ctx() context.Context {
	if a.killed != nil {
		return a.killed
	}
	return a.t.Context()
}

// deliver delivers all events, and recovers after failures. It returns an error that needs an operator.
func (a *agent) deliver() *shipper.Error {
	a.t.Helper()
	for range 10_000 {
		next, err := a.Recover(a.ctx(), a.from, nil)
		if err != nil {
			if err.Class == shipper.Operator {
				return err
			}
			if a.ctx().Err() != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond) // a real broker starts
			continue
		}
		a.from = next
		if failed := a.ranges(); failed == nil {
			return nil
		} else if failed.Class == shipper.Operator || a.ctx().Err() != nil {
			return &failed.Error
		}
		a.Abort(a.ctx())
	}
	a.t.Fatal("the events are not delivered")
	return nil
}

// ranges delivers range after range until an error that needs a Recover.
func (a *agent) ranges() *ranged.Error {
	for int(a.from) <= len(a.events) {
		end, err := a.fill()
		if err != nil {
			return err
		}
		a.Seal()
		for {
			_, err := a.Commit(a.ctx())
			if err == nil {
				a.from = end
				break
			}
			if err.Restart || a.ctx().Err() != nil {
				return err
			}
		}
	}
	return nil
}

// fill adds a range, and returns the offset behind it.
func (a *agent) fill() (end uint64, err *ranged.Error) {
	left := a.events[a.from-1 : min(int(a.from)-1+a.span, len(a.events))]
	at := a.from
	for len(left) > 0 {
		n, err := a.Add(a.ctx(), left)
		at += uint64(n)
		if err != nil && (err.Restart || a.ctx().Err() != nil) {
			return at, err
		}
		if err == nil && n < len(left) {
			break
		}
		left = left[n:]
	}
	return at, nil
}

func TestExact_StoresEachEventOnce(t *testing.T) {
	f := startFake(t, 5)
	events := drawEvents(t, 2000)
	s := openExact(t, f.options())
	defer s.Close()
	a := &agent{Exact: s, t: t, events: events, from: 1, span: 300}
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, f.records(), events)
	checkRecords(t, f.records(), events, 5)
}

// An agent that is killed at any point is followed by one that finds the checkpoint.
func TestExact_GoesOnAfterAKill(t *testing.T) {
	f := startFake(t, 5)
	events := drawEvents(t, 3000)
	r := rand.New(rand.NewPCG(1, 2))
	settled := uint64(1)
	for range 40 {
		s := openExact(t, f.options())
		a := &agent{Exact: s, t: t, events: events, from: settled, span: 100}
		next, err := s.Recover(t.Context(), a.from, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.from = next
		steps := r.IntN(4)
		for i := 0; i <= steps && int(a.from) <= len(events); i++ {
			end, err := a.fill()
			if err != nil {
				t.Fatal(err)
			}
			if i == steps && r.IntN(2) == 0 {
				break // killed before the commit
			}
			s.Seal()
			if _, err := s.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a.from = end; i < steps || r.IntN(2) == 0 {
				settled = end // otherwise killed before the log notes it
			}
		}
		s.Close()
	}
	s := openExact(t, f.options())
	defer s.Close()
	if err := (&agent{Exact: s, t: t, events: events, from: settled, span: 500}).deliver(); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, f.records(), events)
}

func TestExact_StoresOnceThroughFaults(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"produce timed out":        {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 3},
		"no leader":                {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 3},
		"sequence is lost":         {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.OutOfOrderSequenceNumber, Count: 1},
		"epoch is lost":            {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidProducerEpoch, Count: 1},
		"coordinator moves":        {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.NotCoordinator, Count: 2, TopLevel: true},
		"coordinator is busy":      {Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.ConcurrentTransactions, Count: 3},
		"transaction is invalid":   {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, Count: 1, TopLevel: true},
		"group coordinator moves":  {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.NotCoordinator, Count: 2},
		"checkpoint is unstable":   {Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: 2},
		"group is not loaded":      {Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress, Count: 2},
		"server has a fault":       {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: 1, TopLevel: true},
		"producer id is forgotten": {Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.InvalidProducerIDMapping, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, 3)
			events := drawEvents(t, 600)
			s := openExact(t, f.options())
			defer s.Close()
			a := &agent{Exact: s, t: t, events: events[:100], from: 1, span: 100}
			if err := a.deliver(); err != nil {
				t.Fatal(err)
			}
			h := f.Fault(fault)
			a.events = events
			if err := a.deliver(); err != nil {
				t.Fatal(err)
			}
			if h.Hits() == 0 {
				t.Error("no request had the fault")
			}
			checkOnce(t, f.records(), events)
		})
	}
}

// A commit whose response is lost is found by the next Recover, or by the same commit again.
func TestExact_FindsACommitWithoutAResponse(t *testing.T) {
	f := startFake(t, 3)
	events := drawEvents(t, 300)
	s := openExact(t, f.options())
	a := &agent{Exact: s, t: t, events: events, from: 1, span: 100}
	_, err := s.Recover(t.Context(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.fill(); err != nil {
		t.Fatal(err)
	}
	s.Seal()
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut, Count: 1, TopLevel: true})
	if _, failed := s.Commit(t.Context()); failed == nil || failed.Restart {
		t.Fatalf("got %+v", failed)
	}
	s.Close()
	b := openExact(t, f.options())
	defer b.Close()
	if err := (&agent{Exact: b, t: t, events: events, from: 1, span: 100}).deliver(); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, f.records(), events)
}

// An older agent is fenced by a younger one, reports that, and never takes the transactional ID back.
func TestExact_IsFencedByAnother(t *testing.T) {
	f := startFake(t, 3)
	events := drawEvents(t, 400)
	older, younger := openExact(t, f.options()), openExact(t, f.options())
	defer older.Close()
	defer younger.Close()
	a := &agent{Exact: older, t: t, events: events[:200], from: 1, span: 50}
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	a.events = events
	if _, err := a.fill(); err != nil { // its transaction is open
		t.Fatal(err)
	}
	b := &agent{Exact: younger, t: t, events: events, from: 1, span: 50}
	next, err := younger.Recover(t.Context(), 1, nil)
	if err != nil || next != 201 {
		t.Fatalf("got %d, %v", next, err)
	}
	b.from = next
	for range 3 {
		err := a.ranges()
		if err == nil {
			t.Fatal("the older agent delivers")
		}
		a.Abort(t.Context())
		got := a.deliver()
		if got == nil || got.Class != shipper.Operator || !strings.Contains(got.Text, "fenced") || !strings.Contains(got.Text, `"standpipe/LOG/clicks/bus"`) {
			t.Fatalf("got %+v", got)
		}
		if failed := b.deliver(); failed != nil { // the stand-in does not reject the older one itself
			t.Fatal(failed)
		}
	}
	checkOnce(t, f.records(), events)
}

// A copy of a log has events in common with the original, which only one of them delivers, and events of its own.
func TestExact_CopyDeliversItsOwnEvents(t *testing.T) {
	f := startFake(t, 3)
	events := drawEvents(t, 500)
	original := openExact(t, f.options())
	defer original.Close()
	a := &agent{Exact: original, t: t, events: events[:350], from: 1, span: 50} // from 301 on they are its own
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	// The copy was made when 100 events were settled and 300 were appended.
	o := f.options()
	o.Branches = []wal.Branch{{First: 1, ID: "LOG"}, {First: 301, ID: "LOG.copy"}}
	clone := openExact(t, o)
	defer clone.Close()
	b := &agent{Exact: clone, t: t, events: events, from: 101, span: 50}
	if err := b.deliver(); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, r := range f.records() {
		for _, h := range r.Headers {
			if h.Key == "standpipe-id" {
				got[string(h.Value[:strings.LastIndexByte(string(h.Value), '/')])]++
			}
		}
	}
	if got["LOG/clicks"] != 350 || got["LOG.copy/clicks"] != 200 {
		t.Errorf("got %v", got)
	}
}

// A transaction that the brokers aborted because it took too long is not taken for a younger agent.
func TestExact_GoesOnAfterATimeout(t *testing.T) {
	f := startFake(t, 3)
	events := drawEvents(t, 300)
	s := openExact(t, f.options())
	s.SetTransactionTimeout(time.Minute) // the stand-in does not abort it: a request fails as if it had
	defer s.Close()
	a := &agent{Exact: s, t: t, events: events, from: 1, span: 100}
	if _, err := s.Recover(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.fill(); err != nil {
		t.Fatal(err)
	}
	s.Seal()
	aborted := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidProducerEpoch, Count: 1, TopLevel: true})
	_, failed := s.Commit(t.Context())
	if failed == nil || !failed.Restart || aborted.Hits() != 1 {
		t.Fatalf("got %+v", failed)
	}
	a.Abort(t.Context())
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ProducerFenced, Count: 1, TopLevel: true})
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, f.records(), events)
}

// A record that is too large for the topic is rejected by its offset.
func TestExact_RejectsARecord(t *testing.T) {
	f := startFake(t, 1)
	f.setTopic("max.message.bytes", "20000")
	events := drawEvents(t, 50)
	events[20].Data = make([]byte, 30000)
	s := openExact(t, f.options())
	defer s.Close()
	a := &agent{Exact: s, t: t, events: events, from: 1, span: 50}
	if _, err := s.Recover(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	_, err := a.fill() // returns the rejection if the response is there before the last Add
	if err == nil {
		s.Seal()
		_, err = s.Commit(t.Context())
	}
	if err == nil || !err.Restart || len(err.Rejected) != 1 || err.Rejected[0].Offset != 21 || !strings.Contains(err.Rejected[0].Reason, "max.message.bytes") {
		t.Errorf("got %+v", err)
	}
}

// Neither Add nor Commit outlasts its context while the brokers do not answer, and Close does not wait for them.
func TestExact_ReturnsWithItsContext(t *testing.T) {
	f := startFake(t, 1)
	s := openExact(t, f.options(), func(o *kafka.ExactOptions) { o.MaxBytes = 64 << 20 })
	a := &agent{Exact: s, t: t, events: drawEvents(t, 10), from: 1, span: 10}
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		f.SleepControl(func() { <-t.Context().Done() })
		return nil, nil, false
	})
	events := make([]event, 60)
	for i := range events {
		events[i] = event{Offset: uint64(11 + i), Key: "k", Data: make([]byte, 300<<10)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	n, err := s.Add(ctx, events)
	if err == nil || err.Restart || n == 0 || n == len(events) {
		t.Errorf("Add: got %d, %+v", n, err)
	}
	s.Seal()
	if _, err := s.Commit(ctx); err == nil || err.Restart {
		t.Errorf("Commit: got %+v", err)
	}
	testkit.Must(t, s.Close())
}

// An agent whose checkpoint has expired is not taken for a fenced one: no other agent has stored one.
func TestExact_GoesOnWithoutItsCheckpoint(t *testing.T) {
	f := startFake(t, 3)
	events := drawEvents(t, 200)
	s := openExact(t, f.options())
	s.SetTransactionTimeout(time.Minute)
	defer s.Close()
	a := &agent{Exact: s, t: t, events: events[:100], from: 1, span: 100}
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	expire := kmsg.NewPtrDeleteGroupsRequest()
	expire.Groups = []string{"standpipe/LOG/clicks/bus"}
	resp, err := expire.RequestWith(t.Context(), f.client())
	if err != nil || resp.Groups[0].ErrorCode != 0 {
		t.Fatalf("delete the group: %v, %+v", err, resp)
	}
	aborted := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ProducerFenced, Count: 1, TopLevel: true})
	a.events = events
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	if aborted.Hits() != 1 {
		t.Error("the brokers did not reject the agent")
	}
	checkOnce(t, f.records(), events)
}
