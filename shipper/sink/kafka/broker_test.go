//go:build unix

package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/kafkakit"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// The tests of this file run against a real broker, one for all of them, and read with kcat.

var (
	onlyBroker   *kafkakit.Broker
	startOnce    sync.Once
	brokerFolder string
	security     *secured
)

func init() {
	stopBroker = func() {
		if onlyBroker != nil {
			onlyBroker.Kill()
			os.RemoveAll(brokerFolder)
		}
	}
}

// count returns the number in an environment variable, or few.
func count(t *testing.T, variable string, few int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	testkit.Must(t, err)
	return n
}

// broker returns the broker of this test binary.
func broker(t *testing.T) *kafkakit.Broker {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a broker of Kafka")
	}
	startOnce.Do(func() {
		var err error
		brokerFolder, err = os.MkdirTemp("", "kafka")
		testkit.Must(t, err)
		security = newSecured(t, brokerFolder)
		b := kafkakit.New(t, brokerFolder, security.settings)
		b.Run()
		onlyBroker = b
	})
	if onlyBroker == nil {
		testkit.Missing(t, "a broker of Apache Kafka", nil)
	}
	return onlyBroker
}

// topics is the number of topics that tests have made.
var topics atomic.Int64

// newTopic makes a topic with the name of the test, and with a number, since a test may run several times.
func newTopic(t *testing.T, b *kafkakit.Broker, partitions int32, configs ...string) string {
	t.Helper()
	name := fmt.Sprintf("%s.%d", strings.ReplaceAll(t.Name(), "/", "."), topics.Add(1))
	b.CreateTopic(name, partitions, configs...)
	return name
}

func brokerOptions(t *testing.T, b *kafkakit.Broker, partitions int32, configs ...string) kafka.Options {
	t.Helper()
	return kafka.Options{Brokers: []string{b.Address()}, Topic: newTopic(t, b, partitions, configs...), Stream: "clicks",
		Branches: []wal.Branch{{First: 1, ID: "LOG"}}, Timeout: 20 * time.Second}
}

// texts returns events that kcat shows unchanged.
func texts(t *testing.T, n, keys int) []event {
	t.Helper()
	r, begin := rand.New(rand.NewPCG(uint64(n), uint64(keys))), time.Now().Add(-time.Hour).UnixNano()
	events := make([]event, n)
	for i := range events {
		events[i] = event{Offset: uint64(i + 1), Key: fmt.Sprint("key-", r.IntN(keys)), Time: begin + int64(i)*1e6,
			Attributes: map[string]string{"n": fmt.Sprint(i)}, Data: fmt.Appendf(nil, "event %d %s", i+1, strings.Repeat("x", r.IntN(400)))}
	}
	return events
}

// checkTopic checks kcat's reading of a topic: each event, in the order of its key. It returns the number of events that
// came again.
func checkTopic(t *testing.T, records []kafkakit.Record, events []event) (repeated int) {
	t.Helper()
	next := make(map[string][]*event)
	for i := range events {
		next[events[i].Key] = append(next[events[i].Key], &events[i])
	}
	last := make(map[string]uint64)
	for _, r := range records {
		id := r.Headers[strings.Index(r.Headers, "standpipe-id=")+len("standpipe-id="):]
		id, _, _ = strings.Cut(id, ",")
		offset, err := strconv.ParseUint(id[strings.LastIndexByte(id, '/')+1:], 10, 64)
		testkit.Must(t, err)
		if offset <= last[r.Key] {
			if repeated++; repeated <= 3 || os.Getenv("STANDPIPE_KAFKA_DUMP") != "" {
				t.Logf("event %d is again at %d/%d", offset, r.Partition, r.Offset)
			}
			continue
		}
		last[r.Key] = offset
		if len(next[r.Key]) == 0 || next[r.Key][0].Offset != offset {
			t.Fatalf("key %q: got event %d out of order, or none is left", r.Key, offset)
		}
		e := next[r.Key][0]
		if next[r.Key] = next[r.Key][1:]; string(e.Data) != r.Value || e.Time/1e6 != r.Time {
			t.Errorf("event %d: got %q at %d", offset, r.Value, r.Time)
		}
	}
	for key, left := range next {
		if len(left) > 0 {
			t.Errorf("key %q: %d events are missing, from %d on", key, len(left), left[0].Offset)
		}
	}
	return repeated
}

func TestBroker_TakesEveryCompression(t *testing.T) {
	b := broker(t)
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			o := brokerOptions(t, b, 4)
			o.Compression = compression
			s, err := kafka.New(t.Context(), o)
			testkit.Must(t, err)
			defer s.Close()
			events := texts(t, 3000, 50)
			for chunk := range slices.Chunk(events, 700) {
				mustSend(t, s, chunk)
			}
			if n := checkTopic(t, b.Read(o.Topic), events); n > 0 {
				t.Errorf("%d events came again", n)
			}
		})
	}
}

// A broker that is killed under load loses nothing, and the order of each key stays.
func TestBroker_MayBeKilled(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 6)
	kills := count(t, "STANDPIPE_BROKER_KILLS", 1)
	deliverWhile(t, b, o, 20_000*kills, func(delivered <-chan struct{}) {
		for i := range kills {
			select {
			case <-delivered:
				t.Logf("all is stored before kill %d", i+1)
			case <-time.After(time.Duration(50+i%5*300) * time.Millisecond):
			}
			b.Kill()
			b.Run()
		}
	})
}

// Brokers of a cluster are killed in turn: leaders of partitions, coordinators and controllers.
func TestCluster_BrokersMayBeKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("needs three brokers of Kafka")
	}
	kills := count(t, "STANDPIPE_CLUSTER_KILLS", 1)
	brokers := kafkakit.StartCluster(t, 3)
	o := brokerOptions(t, brokers[0], 6)
	o.Brokers = nil
	for _, b := range brokers {
		o.Brokers = append(o.Brokers, b.Address())
	}
	r := rand.New(rand.NewPCG(3, 3))
	deliverWhile(t, brokers[0], o, 10_000*kills, func(<-chan struct{}) {
		for range kills {
			time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond) // of other processes
			b := brokers[r.IntN(len(brokers))]
			b.Kill()
			b.Run()
		}
	})
}

// deliverWhile delivers n events to two topics, at least once and exactly once, during the disturbance, and checks that they
// are there. delivered is closed when all are stored.
func deliverWhile(t *testing.T, b *kafkakit.Broker, o kafka.Options, n int, disturb func(delivered <-chan struct{})) {
	t.Helper()
	s, err := kafka.New(t.Context(), o)
	testkit.Must(t, err)
	defer s.Close()
	exact := o
	exact.Topic += ".exact"
	b.CreateTopic(exact.Topic, 6)
	e := openExact(t, exact, func(x *kafka.ExactOptions) { x.MaxDelay = 50 * time.Millisecond })
	defer e.Close()
	events := texts(t, n, 200)

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for lane := range 3 { // each with keys of its own
		var own []event
		for _, e := range events {
			if int(e.Key[len(e.Key)-1])%3 == lane {
				own = append(own, e)
			}
		}
		group.Go(func() { sendAll(t, s, own, 300) })
	}
	var failed *shipper.Error
	group.Go(func() { failed = (&agent{Exact: e, t: t, events: events, from: 1, span: 1000}).deliver() })
	go func() { group.Wait(); cancel() }()
	disturb(ctx.Done())
	group.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	again := checkTopic(t, b.Read(o.Topic), events)
	t.Logf("%d of %d events came again at least once", again, len(events))
	if n := checkTopic(t, b.Read(exact.Topic), events); n > 0 {
		t.Errorf("exactly once: %d events came again", n)
	}
}

// A broker that is down for longer than a transaction may take aborts it. The range is stored again, and read once.
func TestBroker_MayBeDownForLong(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 6)
	s := openExact(t, o)
	s.SetTransactionTimeout(1200 * time.Millisecond)
	defer s.Close()
	kills := count(t, "STANDPIPE_BROKER_KILLS", 1)
	events := texts(t, 20_000*kills, 200)
	done := make(chan *shipper.Error, 1)
	go func() { done <- (&agent{Exact: s, t: t, events: events, from: 1, span: 1000}).deliver() }()
	for i := range kills {
		time.Sleep(time.Duration(100+i%5*200) * time.Millisecond) // of another process
		b.Kill()
		b.Run()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	records := b.Read(o.Topic)
	t.Logf("%d records", len(records))
	if n := checkTopic(t, records, events); n > 0 {
		t.Errorf("%d events came again", n)
	}
}

// sendAll sends events until all are stored, those that failed again and again.
func sendAll(t *testing.T, s shipper.Sink, events []event, most int) {
	for len(events) > 0 {
		n := min(most, len(events))
		got := s.Send(t.Context(), recordsOf(events[:n]))
		if got.Err != nil {
			time.Sleep(50 * time.Millisecond) // the broker starts
			continue
		}
		var kept []event
		for i, err := range got.Results {
			if err != nil {
				kept = append(kept, events[i])
			}
		}
		events = append(kept, events[n:]...)
	}
}

// An agent that is killed at any point is followed by one that goes on behind the last committed transaction.
func TestBroker_HoldsTheCheckpointOfAKilledAgent(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 4)
	events := texts(t, 8000, 60)
	r := rand.New(rand.NewPCG(3, 4))
	settled := uint64(1)
	for range count(t, "STANDPIPE_KILLS", 8) {
		s := openExact(t, o)
		a := &agent{Exact: s, t: t, events: events, from: settled, span: 100}
		next, err := s.Recover(t.Context(), settled, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.from = next
		for step := range 1 + r.IntN(3) {
			if int(a.from) > len(events) {
				break
			}
			end, err := a.fill()
			if err != nil {
				t.Fatal(err)
			}
			if step > 0 && r.IntN(2) == 0 {
				break
			}
			s.Seal()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(40))*time.Millisecond)
			_, failed := s.Commit(ctx)
			cancel()
			if failed != nil {
				break // in the middle of the commit
			}
			if a.from = end; r.IntN(2) == 0 {
				settled = end
			}
		}
		s.Close()
	}
	s := openExact(t, o)
	defer s.Close()
	if err := (&agent{Exact: s, t: t, events: events, from: settled, span: 2000}).deliver(); err != nil {
		t.Fatal(err)
	}
	if n := checkTopic(t, b.Read(o.Topic), events); n > 0 {
		t.Errorf("%d events came again", n)
	}
}

func TestBroker_FencesTheOlderAgent(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 3)
	events := texts(t, 900, 30)
	older, younger := openExact(t, o), openExact(t, o)
	defer older.Close()
	defer younger.Close()
	a := &agent{Exact: older, t: t, events: events[:300], from: 1, span: 100}
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	a.events = events
	if _, err := a.fill(); err != nil {
		t.Fatal(err)
	}
	c := &agent{Exact: younger, t: t, events: events, from: 1, span: 100}
	next, err := younger.Recover(t.Context(), 1, nil)
	if err != nil || next != 301 {
		t.Fatalf("got %d, %v", next, err)
	}
	c.from = next
	older.Seal()
	if _, err := older.Commit(t.Context()); err == nil || !err.Restart {
		t.Fatalf("the older agent commits: %+v", err)
	}
	for range 3 {
		older.Abort(t.Context())
		if _, err := older.Recover(t.Context(), 301, nil); err == nil || err.Class != shipper.Operator || !strings.Contains(err.Text, "fenced") {
			t.Fatalf("got %+v", err)
		}
	}
	if err := c.ranges(); err != nil { // it is not disturbed
		t.Fatal(err)
	}
	if n := checkTopic(t, b.Read(o.Topic), events); n > 0 {
		t.Errorf("%d events came again", n)
	}
}

// A transaction that the broker aborts because it took too long is not mistaken for a younger agent.
func TestBroker_AbortsALongTransaction(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 3)
	events := texts(t, 300, 30)
	s := openExact(t, o)
	defer s.Close()
	s.SetTransactionTimeout(300 * time.Millisecond)
	a := &agent{Exact: s, t: t, events: events, from: 1, span: 100}
	if _, err := s.Recover(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	_, failed := a.fill()
	if failed == nil { // it is not that slow
		s.Seal()
		awaitAborted(t, b, "standpipe/LOG/clicks/bus")
		_, failed = s.Commit(t.Context())
	}
	if failed == nil || !failed.Restart {
		t.Fatalf("got %+v", failed)
	}
	a.Abort(t.Context())
	s.SetTransactionTimeout(time.Minute)
	if err := a.deliver(); err != nil {
		t.Fatal(err)
	}
	if n := checkTopic(t, b.Read(o.Topic), events); n > 0 {
		t.Errorf("%d events came again", n)
	}
}

// awaitAborted waits until the broker has aborted a transaction.
func awaitAborted(t *testing.T, b *kafkakit.Broker, id string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()))
	testkit.Must(t, err)
	defer client.Close()
	testkit.Eventually(t, time.Minute, func() error {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{id}
		resp, err := req.RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		if got := resp.TransactionStates[0]; got.State != "CompleteAbort" {
			return fmt.Errorf("the transaction is %s, error code %d", got.State, got.ErrorCode)
		}
		return nil
	})
}

// A hung broker holds up neither Send nor Close.
func TestBroker_MayHang(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 3)
	s, err := kafka.New(t.Context(), o)
	testkit.Must(t, err)
	events := texts(t, 200, 30)
	mustSend(t, s, events[:100])
	b.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	got := s.Send(ctx, recordsOf(events[100:]))
	b.Resume()
	if got.Err == nil || got.Err.Class != shipper.Transient {
		t.Errorf("got %+v", got.Err)
	}
	mustSend(t, s, events[100:])
	testkit.Must(t, s.Close())
	checkTopic(t, b.Read(o.Topic), events)
}

func TestBroker_RejectsLargeAndOldRecords(t *testing.T) {
	b := broker(t)
	o := brokerOptions(t, b, 1, "max.message.bytes", "50000", "message.timestamp.before.max.ms", "60000000")
	s, err := kafka.New(t.Context(), o)
	testkit.Must(t, err)
	defer s.Close()
	events := texts(t, 500, 10)
	for i := range events {
		events[i].Time = time.Now().UnixNano()
	}
	mustSend(t, s, events[:100])
	events[150].Data = make([]byte, 60000)
	events[300].Time = 1
	got := s.Send(t.Context(), recordsOf(events[150:151]))
	if got.Err != nil || got.Results[0].Class != shipper.Poison || got.Results[0].Code != "MESSAGE_TOO_LARGE" {
		t.Errorf("got %+v", got)
	}
	got = s.Send(t.Context(), recordsOf(events[295:305]))
	if got.Err != nil || got.Results[5].Class != shipper.Poison || got.Results[5].Code != "INVALID_TIMESTAMP" || got.Results[4].Class != shipper.Transient {
		t.Errorf("got %+v, %v", got, got.Results)
	}
}
