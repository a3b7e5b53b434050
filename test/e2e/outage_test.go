//go:build unix

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// Kinesis goes away and comes back, then the agent is killed five times within a moment: acked events arrive, in
// order. Each kill may repeat the deliveries of the last 250 ms, here all there are.
func TestDestination_BreaksTogetherWithTheAgent(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("outage", 3)
	a := startAgent(t, "", streamBlock("outage", kinesisDestination(k.endpoint()), fileDestination))
	sent := readings(11, 6000)
	send(t, a.dial(), "outage", sent[:2000])

	k.kill()
	send(t, a.dial(), "outage", sent[2000:4000])
	testkit.Eventually(t, 20*time.Second, func() error {
		s := a.stream("outage")
		if d := s.destination("live"); d.State != "waiting" || d.LastError == "" || d.Pending.Events == 0 {
			return fmt.Errorf("live is %s with %d pending and last error %q, want waiting", d.State, d.Pending.Events, d.LastError)
		}
		if d := s.destination("local"); d.Delivered.Events != 4000 {
			return fmt.Errorf("local has delivered %d, want 4000: the outage of another is not its own", d.Delivered.Events)
		}
		return nil
	})

	k.start()
	sendThroughKills(t, a, "outage", sent[4000:])
	a.waitDelivered("outage", len(sent), time.Minute)
	a.stop()

	live, records := k.read("outage")
	c := owing(sent)
	t.Logf("live: %v in %d records", c.expectWhole(t, "live", live, 5*len(sent)), records)
	t.Logf("local: %v", c.expectWhole(t, "local", delivered(t, a.path("out"), "sensor", true), 0))
}

// Events that were delivered longer ago than 250 ms are not sent again after a kill, however the agent's destinations
// are occupied.
func TestKill_AfterACalmMomentRepeatsNothing(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("calm", 3)
	a := startAgent(t, "", streamBlock("calm", kinesisDestination(k.endpoint()), fileDestination))
	sent := readings(13, 3000)
	for i, part := range batches(sent, 1000) {
		send(t, a.dial(), "calm", part)
		a.waitDelivered("calm", 1000*(i+1), 30*time.Second)
		a.waitCalm("calm", 3*time.Second) // a sync of a busy disk takes longer than 250 ms
		a.kill()
		a.start()
	}
	a.stop()
	live, _ := k.read("calm")
	owing(sent).expectWhole(t, "live", live, 0)
	owing(sent).expectWhole(t, "local", delivered(t, a.path("out"), "sensor", true), 0)
}

// waitCalm waits until no destination of the stream has delivered anything for a while.
func (a *agent) waitCalm(stream string, calm time.Duration) {
	a.t.Helper()
	testkit.Eventually(a.t, 30*time.Second, func() error {
		s := a.stream(stream)
		for _, d := range s.Destinations {
			last, err := time.Parse(time.RFC3339Nano, d.LastDeliveryAt)
			if err != nil {
				return err
			}
			if since := time.Since(last); since < calm {
				return fmt.Errorf("%s delivered %s ago", d.Name, since)
			}
		}
		return nil
	})
}

// The link to Kinesis loses requests and replies, and the agent is killed now and then: a reply lost
// after acceptance is sent again, and that is all that may arrive twice. The budgets let about two
// requests of a connection in three through.
func TestLink_LosesRequestsAndResponses(t *testing.T) {
	endToEnd(t)
	for _, test := range []struct {
		aggregate string
		up, down  int64
	}{{"kpl", 90_000, 9_000}, {"lines", 90_000, 9_000}, {"none", 300_000, 150_000}} {
		t.Run(test.aggregate, func(t *testing.T) {
			t.Parallel()
			seed := draw.Seed(t)
			k := startKinesalite(t)
			k.create("lossy", 3)
			l := startLink(t, k.address, test.up, test.down, seed)
			l.bad.Store(true)
			a := startAgent(t, "", streamBlock("lossy", kinesisAs("live", test.aggregate, l.endpoint())))
			sent := readings(seed, 8000)
			sendThroughKills(t, a, "lossy", sent)
			waitCuts(t, a, l, 15)
			l.bad.Store(false)
			a.waitDelivered("lossy", len(sent), time.Minute)
			a.stop()
			live, records := k.read("lossy")
			if test.aggregate == "lines" {
				live = splitLines(t, live)
			}
			t.Logf("live: %v in %d records, %d cuts, seed %d", owing(sent).expectWhole(t, "live", live, 10*len(sent)), records, l.cuts.Load(), seed)
		})
	}
}

// sendThroughKills appends the events, and kills and starts the agent after every fifth of them.
func sendThroughKills(t *testing.T, a *agent, stream string, events []event) {
	t.Helper()
	for _, part := range batches(events, len(events)/5) {
		send(t, a.dial(), stream, part)
		a.kill()
		a.start()
	}
}

// waitCuts waits until the link was cut so many times, or nothing is left to cut.
func waitCuts(t *testing.T, a *agent, l *link, cuts int64) {
	t.Helper()
	testkit.Eventually(t, time.Minute, func() error {
		s := a.stream("lossy")
		if d := s.destination("live"); d.Pending.Events > 0 && l.cuts.Load() < cuts {
			return fmt.Errorf("%d cuts, %d events pending", l.cuts.Load(), d.Pending.Events)
		}
		return nil
	})
}

// splitLines takes records of lines apart; each holds events of the record's key alone.
func splitLines(t *testing.T, records []event) []event {
	t.Helper()
	var events []event
	for _, record := range records {
		inside, err := lines([]byte(record.data), "sensor")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range inside {
			if e.key != record.key {
				t.Errorf("a record of key %s holds an event of %s", record.key, e.key)
			}
		}
		events = append(events, inside...)
	}
	return events
}

// A destination whose stream does not exist needs an operator: it is blocked, reports why, holds its events and goes
// on by itself once the stream is there. The other stream is not concerned.
func TestDestination_MissingStreamBlocksOnlyItself(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	a := startAgent(t, "", streamBlock("late", kinesisDestination(k.endpoint()))+streamBlock("fine", fileDestination))
	sent := readings(12, 500)
	send(t, a.dial(), "late", sent)
	send(t, a.dial(), "fine", sent)
	a.waitDelivered("fine", len(sent), 20*time.Second)
	testkit.Eventually(t, 20*time.Second, func() error {
		s := a.stream("late")
		if d := s.destination("live"); d.State != "blocked" || d.LastError == "" || d.Pending.Events != 500 {
			return fmt.Errorf("live is %s with %d pending and last error %q, want blocked with 500", d.State, d.Pending.Events, d.LastError)
		}
		return nil
	})
	k.create("late", 1)
	a.waitDelivered("late", len(sent), 30*time.Second)
	a.stop()
	live, _ := k.read("late")
	owing(sent).expectWhole(t, "late", live, 0)
}
