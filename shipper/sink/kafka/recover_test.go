package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/test/testkit"
)

const transactionalID = "standpipe/LOG/clicks/bus"

// recoverKeys are the requests of an agent that starts, and of its first range.
var recoverKeys = []kmsg.Key{
	kmsg.ApiVersions, kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeTransactions, kmsg.OffsetFetch, kmsg.InitProducerID, kmsg.DescribeProducers,
	kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.AddPartitionsToTxn, kmsg.Produce,
}

// accident is the fate of a request.
type accident string

const (
	rejected accident = "rejected"            // with an error that passes
	failed   accident = "failed"              // with an error that Recover returns
	cut      accident = "cut"                 // the request is lost
	lost     accident = "response lost"       // it is handled, and its response is lost
	killed   accident = "killed"              // the request is lost, and the agent is killed
	killedIn accident = "killed when handled" // it is handled, and the agent is killed
)

var accidents = []accident{rejected, failed, cut, lost, killed, killedIn}

// saboteur lets accidents happen to the requests of agents that start.
type saboteur struct {
	f          *fake
	client     *kgo.Client // sends requests on
	forwarding atomic.Bool // by client
	plan       map[kmsg.Key][]accident
	kill       atomic.Pointer[context.CancelFunc]
	happened   atomic.Int32
}

func (f *fake) sabotage(plan map[kmsg.Key][]accident) *saboteur {
	s := &saboteur{f: f, client: f.client(kgo.MaxVersions(kversion.V3_0_0())), plan: plan}
	for key := range plan {
		f.ControlKey(int16(key), s.control)
	}
	return s
}

// control runs on the cluster's goroutine.
func (s *saboteur) control(r kmsg.Request) (kmsg.Response, error, bool) {
	s.f.KeepControl()
	key := kmsg.Key(r.Key())
	if s.forwarding.Load() || len(s.plan[key]) == 0 {
		return nil, nil, false
	}
	next := s.plan[key][0]
	s.plan[key] = s.plan[key][1:]
	s.happened.Add(1)
	if next == rejected || next == failed {
		fault := passing(key)
		if next == failed {
			fault.Err = kerr.UnknownServerError
		}
		s.f.Fault(fault)
		return nil, nil, false
	}
	if next == lost || next == killedIn {
		node := s.f.CurrentNode()
		s.forwarding.Store(true)
		s.f.SleepControl(func() {
			_, _ = s.client.Broker(int(node)).Request(s.f.t.Context(), again(r)) // the agent finds out its result
		})
		s.forwarding.Store(false)
	}
	if next == killed || next == killedIn {
		(*s.kill.Load())()
	}
	return nil, errors.New("cut"), true
}

// again returns a copy of the request for another client.
func again(r kmsg.Request) kmsg.Request {
	out := kmsg.RequestForKey(r.Key())
	out.SetVersion(r.GetVersion())
	if err := out.ReadFrom(r.AppendTo(nil)); err != nil {
		panic(err)
	}
	return out
}

// passing returns an error that the request has once.
func passing(key kmsg.Key) kfake.Fault {
	f := kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.CoordinatorNotAvailable, Count: 1}
	switch key {
	case kmsg.InitProducerID, kmsg.AddOffsetsToTxn, kmsg.EndTxn:
		f.TopLevel, f.Err = true, kerr.CoordinatorLoadInProgress
	case kmsg.OffsetFetch, kmsg.TxnOffsetCommit:
		f.Err = kerr.NotCoordinator
	case kmsg.AddPartitionsToTxn:
		f.Err = kerr.ConcurrentTransactions
	case kmsg.Produce, kmsg.DescribeProducers, kmsg.Metadata:
		f.Err = kerr.NotLeaderForPartition
	}
	return f
}

// fate is the end of the agent before.
type fate int

const (
	beforeCommit fate = iota // its range is stored, and its transaction is open
	inCommit                 // the end of its transaction was requested, and it got no response
	afterCommit              // its log has not noted the range
	fates
)

// end lets an agent deliver 200 events, and die in the third range. It returns the first offset that its log has not settled.
func (w fate) end(f *fake, events []event) uint64 {
	f.t.Helper()
	s := openExact(f.t, f.options())
	defer s.Close()
	a := &agent{Exact: s, t: f.t, events: events[:200], from: 1, span: 100}
	if err := a.deliver(); err != nil {
		f.t.Fatal(err)
	}
	a.events = events[:300]
	if _, err := a.fill(); err != nil {
		f.t.Fatal(err)
	}
	s.Seal()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	switch w {
	case beforeCommit:
		f.ControlKey(int16(kmsg.AddOffsetsToTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
			cancel()
			return nil, errors.New("killed"), true
		})
	case inCommit:
		before := f.sabotage(map[kmsg.Key][]accident{kmsg.EndTxn: {killedIn}})
		before.kill.Store(&cancel)
	}
	if _, err := s.Commit(ctx); (err == nil) != (w == afterCommit) {
		f.t.Fatalf("got %v", err)
	}
	return 201
}

// start starts agents until one delivers all events.
func (s *saboteur) start(events []event, from uint64) {
	s.f.t.Helper()
	for range 20 {
		ctx, cancel := context.WithCancel(s.f.t.Context())
		s.kill.Store(&cancel)
		e := openExact(s.f.t, s.f.options())
		e.SetUnstableFor(50 * time.Millisecond)
		err := (&agent{Exact: e, t: s.f.t, events: events, from: from, span: 150, killed: ctx}).deliver()
		testkit.Must(s.f.t, e.Close())
		if cancel(); err == nil {
			return
		}
		if err.Class == shipper.Operator {
			s.f.t.Fatal(err)
		}
	}
	s.f.t.Fatal("no agent delivers the events")
}

// Each request of an agent that starts has each accident once, after each end of the agent before.
func TestRecover_GoesOnAfterAnyAccident(t *testing.T) {
	events := drawEvents(t, 500)
	for last := range fates {
		for _, key := range recoverKeys {
			for _, what := range accidents {
				t.Run(fmt.Sprintf("%d/%s/%s", last, key.Name(), what), func(t *testing.T) {
					f := startFake(t, 3)
					from := last.end(f, events)
					s := f.sabotage(map[kmsg.Key][]accident{key: {what}})
					s.start(events, from)
					if s.happened.Load() == 0 {
						t.Error("nothing happened")
					}
					checkOnce(t, f.records(), events)
				})
			}
		}
	}
}

// Requests have several accidents, in orders that are drawn.
func TestRecover_GoesOnAfterManyAccidents(t *testing.T) {
	events := drawEvents(t, 500)
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 12))
			plan := make(map[kmsg.Key][]accident)
			for range 2 + r.IntN(6) {
				key := recoverKeys[r.IntN(len(recoverKeys))]
				plan[key] = append(plan[key], accidents[r.IntN(len(accidents))])
			}
			f := startFake(t, 3)
			from := fate(r.IntN(int(fates))).end(f, events)
			t.Log(plan)
			f.sabotage(plan).start(events, from)
			checkOnce(t, f.records(), events)
		})
	}
}

// missed is a batch that got no end with its transaction.
type missed struct {
	f         *fake
	partition int32
	records   []byte
}

// missEnd takes the next batch for the partition out of its transaction.
func (f *fake) missEnd(partition int32) *missed {
	m := &missed{f: f, partition: partition}
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.ProduceRequest)
		in := &req.Topics[0]
		f.KeepControl()
		if m.records != nil || len(in.Partitions) != 1 || in.Partitions[0].Partition != partition {
			return nil, nil, false
		}
		m.records = slices.Clone(in.Partitions[0].Records)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = topicName
		topic.Partitions = append(topic.Partitions, kmsg.NewProduceResponseTopicPartition())
		topic.Partitions[0].Partition = partition
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	return m
}

// hang stores the batch in a transaction of the present owner of the transactional ID, which has not ended.
func (m *missed) hang(ctx context.Context, client *kgo.Client) error {
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{transactionalID}
	state, err := describe.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	id, epoch := state.TransactionStates[0].ProducerID, state.TransactionStates[0].ProducerEpoch
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = transactionalID, id, epoch
	in := kmsg.NewAddPartitionsToTxnRequestTopic()
	in.Topic, in.Partitions = topicName, []int32{m.partition}
	add.Topics = append(add.Topics, in)
	if _, err := add.RequestWith(ctx, client); err != nil {
		return err
	}
	binary.BigEndian.PutUint64(m.records[43:], uint64(id))
	binary.BigEndian.PutUint16(m.records[51:], uint16(epoch))
	binary.BigEndian.PutUint32(m.records[53:], 0) // the sequence number
	binary.BigEndian.PutUint32(m.records[17:], crc32.Checksum(m.records[21:], crc32.MakeTable(crc32.Castagnoli)))
	req := kmsg.NewPtrProduceRequest()
	name := transactionalID
	req.TransactionID, req.Acks, req.TimeoutMillis = &name, -1, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = topicName
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = m.partition, m.records
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	return err
}

// Records that brokers left without an end are ended by the next agent as their transaction was: if the checkpoint covers
// them, they were committed. Otherwise they are aborted, and stored again.
func TestRecover_EndsHangingRecords(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "aborted": false} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, 3, kfake.NumBrokers(1))
			events := drawEvents(t, 400)
			s := openExact(t, f.options())
			a := &agent{Exact: s, t: t, events: events[:100], from: 1, span: 100}
			if err := a.deliver(); err != nil {
				t.Fatal(err)
			}
			a.events = events[:200]
			batch := f.missEnd(1)
			_, err := a.fill()
			if err != nil {
				t.Fatal(err)
			}
			s.Seal()
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			if !committed {
				f.sabotage(map[kmsg.Key][]accident{kmsg.EndTxn: {killed}}).kill.Store(&kill)
			}
			if _, err := s.Commit(ctx); (err == nil) != committed {
				t.Fatal(err)
			}
			s.Close()

			client := f.client(kgo.MaxVersions(kversion.V3_0_0()))
			taken, hung := false, false
			f.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
				taken = true
				return nil, nil, false
			})
			f.ControlKey(int16(kmsg.DescribeProducers), func(kmsg.Request) (kmsg.Response, error, bool) {
				if !taken || hung {
					return nil, nil, false
				}
				hung = true
				f.SleepControl(func() {
					if err := batch.hang(t.Context(), client); err != nil {
						t.Error(err)
					}
				})
				return nil, nil, false
			})
			f.sabotage(nil).start(events, 101)
			checkOnce(t, f.records(), events)
		})
	}
}

// An agent that was killed while it ended hanging records of a committed range again is followed by one that commits them.
func TestRecover_CommitsHangingRecordsOfAKilledAgent(t *testing.T) {
	f := startFake(t, 3, kfake.NumBrokers(1))
	events := drawEvents(t, 400)
	s := openExact(t, f.options())
	a := &agent{Exact: s, t: t, events: events[:100], from: 1, span: 100}
	batch := f.missEnd(1)
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := batch.hang(t.Context(), f.client(kgo.MaxVersions(kversion.V3_0_0()))); err != nil {
		t.Fatal(err)
	}
	f.sabotage(nil).start(events, 1)
	checkOnce(t, f.records(), events)
}

// A checkpoint that brokers left without an end is ended as its transaction was, with the records.
func TestRecover_EndsAHangingCheckpoint(t *testing.T) {
	for state, from := range map[string]uint64{"CompleteCommit": 201, "CompleteAbort": 101, "Empty": 0} {
		t.Run(state, func(t *testing.T) {
			f := startFake(t, 3, kfake.NumBrokers(1))
			events := drawEvents(t, 400)
			s := openExact(t, f.options())
			a := &agent{Exact: s, t: t, events: events[:100], from: 1, span: 100}
			if err := a.deliver(); err != nil {
				t.Fatal(err)
			}
			a.events = events[:200]
			if _, err := a.fill(); err != nil {
				t.Fatal(err)
			}
			s.Seal()
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			f.sabotage(map[kmsg.Key][]accident{kmsg.EndTxn: {killed}}).kill.Store(&kill)
			if _, err := s.Commit(ctx); err == nil {
				t.Fatal("the transaction is ended")
			}
			s.Close()

			// The stand-in has an open transaction, and reports that it ended.
			f.ControlKey(int16(kmsg.DescribeTransactions), func(r kmsg.Request) (kmsg.Response, error, bool) {
				resp := r.ResponseKind().(*kmsg.DescribeTransactionsResponse)
				one := kmsg.NewDescribeTransactionsResponseTransactionState()
				one.TransactionalID, one.State = transactionalID, state
				resp.TransactionStates = append(resp.TransactionStates, one)
				return resp, nil, true
			})
			client := f.client(kgo.MaxVersions(kversion.V3_0_0()))
			f.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
				resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
				f.SleepControl(func() {
					describe := kmsg.NewPtrDescribeTransactionsRequest()
					describe.TransactionalIDs = []string{transactionalID}
					found, err := describe.RequestWith(t.Context(), client)
					if err != nil {
						t.Error(err)
						return
					}
					resp.ProducerID, resp.ProducerEpoch = found.TransactionStates[0].ProducerID, found.TransactionStates[0].ProducerEpoch
				})
				return resp, nil, true
			})
			next := openExact(t, f.options())
			defer next.Close()
			next.SetUnstableFor(50 * time.Millisecond)
			got, err := next.Recover(t.Context(), 101, nil)
			if got != from {
				t.Errorf("got %d, want %d", got, from)
			}
			if from == 0 { // how it ended is not known
				if err == nil || err.Class != shipper.Operator || !strings.Contains(err.Text, transactionalID) {
					t.Errorf("got %+v", err)
				}
				return
			}
			if err := (&agent{Exact: next, t: t, events: events, from: 101, span: 150}).deliver(); err != nil {
				t.Fatal(err)
			}
			checkOnce(t, f.records(), events)
		})
	}
}

// If brokers may have started after the end of a transaction was requested, it is requested again for all of its partitions,
// before the range counts as delivered.
func TestExact_RepeatsAnEndInDoubt(t *testing.T) {
	f := startFake(t, 3)
	events := drawEvents(t, 200)
	s := openExact(t, f.options())
	defer s.Close()
	a := &agent{Exact: s, t: t, events: events[:100], from: 1, span: 100}
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	ended := f.sabotage(map[kmsg.Key][]accident{kmsg.EndTxn: {lost}})
	added := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Count: -1, Observe: true, TopLevel: true})
	a.events = events
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	if ended.happened.Load() != 1 || added.Hits() < 2 {
		t.Errorf("got %d lost responses, %d requests that add the group", ended.happened.Load(), added.Hits())
	}
	checkOnce(t, f.records(), events)
}
