//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/kafkakit"
	"github.com/standpipe/standpipe/test/testkit"
)

// kafkaDestination returns the block of a destination whose topic has the name of the stream.
func kafkaDestination(b *kafkakit.Broker, delivery string) string {
	return fmt.Sprintf("\ndestination \"kafka\" \"bus\" {\n  brokers = [%q]\n  topic = \"${stream}\"\n  delivery = %q\n  batch { max_delay = \"50ms\" }\n}\n",
		b.Address(), delivery)
}

// arrived returns the committed events of a topic as kcat reads them.
func arrived(b *kafkakit.Broker, topic string) (events []event) {
	for _, r := range b.Read(topic) {
		events = append(events, event{r.Key, r.Value})
	}
	return events
}

// The agent is killed at random moments while it takes and delivers events, STANDPIPE_KAFKA_KILLS times. With exactly_once
// a consumer of committed records sees each stored event once; with at_least_once each is there. Keys keep their order.
func TestKafka_KilledAtAnyMoment(t *testing.T) {
	endToEnd(t)
	kills := number(t, "STANDPIPE_KAFKA_KILLS", 4)
	seed := draw.Seed(t)
	t.Logf("%d kills", kills)
	r := rand.New(rand.NewPCG(seed, 51))
	b := kafkakit.Start(t, nil)
	b.CreateTopic("once", 5)
	b.CreateTopic("least", 5)
	a := newAgent(t, "", streamBlock("once", kafkaDestination(b, "exactly_once"))+streamBlock("least", kafkaDestination(b, "at_least_once")))
	once, least := newWriter(t, "once", "gateway-1", seed), newWriter(t, "least", "gateway-2", seed+1)
	for range kills {
		a.start()
		writeUntilKilled(a, time.Duration(100+r.IntN(500))*time.Millisecond, once, least)
	}
	a.start()
	for _, w := range []*writer{once, least} {
		finish(a, w)
		sent, _ := w.events()
		a.waitDelivered(w.stream, sent, 2*time.Minute)
	}
	a.stop()
	t.Logf("once: %v", once.history().expectWhole(t, "once", arrived(b, "once"), 0))
	events := arrived(b, "least")
	t.Logf("least: %v", least.history().expectWhole(t, "least", events, len(events)))
}

// The broker is killed under load, and the agent is killed and started while the broker starts. A transaction whose end was
// requested before is ended by the next agent, STANDPIPE_KAFKA_STARTS times.
func TestKafka_KilledWhileTheBrokerStarts(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_KAFKA_STARTS", 2)
	seed := draw.Seed(t)
	t.Logf("%d starts", rounds)
	r := rand.New(rand.NewPCG(seed, 52))
	b := kafkakit.Start(t, nil)
	b.CreateTopic("once", 12)
	a := newAgent(t, "", streamBlock("once", kafkaDestination(b, "exactly_once")))
	once := newWriter(t, "once", "gateway-1", seed)
	for range rounds {
		a.start()
		run := time.Duration(500+r.IntN(500)) * time.Millisecond
		stopAt := time.Now().Add(run)
		done := make(chan struct{})
		client := a.dial()
		go func() { defer close(done); once.run(t.Context(), client) }()
		time.Sleep(time.Until(stopAt)) // of other processes
		b.Kill()
		b.Launch()
		for range 2 + r.IntN(3) {
			time.Sleep(time.Duration(200+r.IntN(1500)) * time.Millisecond)
			a.kill()
			a.start()
		}
		a.kill()
		<-done
		b.Await()
	}
	a.start()
	finish(a, once)
	sent, _ := once.events()
	a.waitDelivered("once", sent, 2*time.Minute)
	a.stop()
	t.Logf("once: %v", once.history().expectWhole(t, "once", arrived(b, "once"), 0))
}

// A copy of a log and its original have undelivered events in common. The younger agent fences the older one. The older one
// reports that, and does not disturb the younger one. No event is in the topic twice.
func TestKafka_CopyFencesTheOriginal(t *testing.T) {
	endToEnd(t)
	b := kafkakit.Start(t, nil)
	b.CreateTopic("once", 3)
	block := streamBlock("once", kafkaDestination(b, "exactly_once"))
	original, clone := newAgent(t, "", block), newAgent(t, "", block)
	original.start()
	putKafka(original, 0, 500)
	original.waitDelivered("once", 500, time.Minute)
	b.Hang()
	putKafka(original, 500, 1500)
	original.kill()
	testkit.Must(t, os.CopyFS(clone.path("data"), os.DirFS(original.path("data"))))
	b.Resume()
	original.start()
	original.waitDelivered("once", 1500, time.Minute)

	clone.start()
	clone.waitDelivered("once", 1500, time.Minute)
	putKafka(clone, 10_000, 10_100)
	clone.waitDelivered("once", 1600, time.Minute)
	putKafka(original, 1500, 1501)
	testkit.Eventually(t, time.Minute, func() error {
		d := original.stream("once").destination("bus")
		if d.State != "blocked" || !strings.Contains(d.LastError, "fenced") || !strings.Contains(d.LastError, "/once/bus") {
			return fmt.Errorf("got state %q, last error %q", d.State, d.LastError)
		}
		return nil
	})
	putKafka(clone, 10_100, 10_200)
	clone.waitDelivered("once", 1700, time.Minute)

	times := make(map[string]int)
	for _, e := range arrived(b, "once") {
		times[e.data]++
	}
	if len(times) != 1700 {
		t.Errorf("got %d events, want 1700", len(times))
	}
	for data, n := range times {
		if n != 1 {
			t.Errorf("event %s is there %d times", data, n)
		}
	}
}

// putKafka appends the events with numbers from first up to end.
func putKafka(a *agent, first, end int) {
	a.t.Helper()
	client := a.dial()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	request := &standpipev1.AppendRequest{Stream: "once"}
	for i := first; i < end; i++ {
		request.Events = append(request.Events, &standpipev1.Event{PartitionKey: fmt.Sprint("key-", i%20), Data: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	_, err := client.Append(ctx, request)
	testkit.Must(a.t, err)
}
