//go:build unix

package e2e_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
)

// The agent is killed at random moments while two producers write, STANDPIPE_E2E_ROUNDS times. Acked events are
// delivered, in their key's order, byte for byte. The producer that resends requests without a response has each of
// its events stored once. The log is sound after every kill.
func TestKill_AtAnyMoment(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_E2E_ROUNDS", 50)
	seed := draw.Seed(t)
	t.Logf("%d rounds", rounds)
	r := rand.New(rand.NewPCG(seed, 50))
	a := newAgent(t, "wal {\n  max_size = \"2GiB\"\n  segment_size = \"1MiB\"\n}\n",
		streamBlock("once", fileDestination)+streamBlock("again", fileDestination))
	once, again := newWriter(t, "once", "", seed), newWriter(t, "again", "gateway-17", seed+1)

	for range rounds {
		a.start()
		writeUntilKilled(a, time.Duration(20+r.IntN(200))*time.Millisecond, once, again)
		if code, out, errs := runProgram(t, "", "wal", "verify", a.path("data")); code != 0 {
			t.Fatalf("wal verify after a kill: got exit code %d: %s%s", code, out, errs)
		}
	}
	a.start()
	finish(a, again)
	checkKilled(t, a, once, again)
}

// writeUntilKilled lets the writers write, kills the agent in the middle, and waits for them.
func writeUntilKilled(a *agent, after time.Duration, writers ...*writer) {
	var all sync.WaitGroup
	for _, w := range writers {
		client := a.dial()
		all.Go(func() { w.run(context.Background(), client) })
	}
	<-time.After(after)
	a.kill()
	all.Wait()
}

// finish sends the requests again for which the resending writer has no response.
func finish(a *agent, w *writer) {
	a.t.Helper()
	client := a.dial()
	for _, b := range w.batches[w.acked:] {
		answer, err := client.Append(a.t.Context(), b.request)
		if err != nil {
			a.t.Fatal(err)
		}
		w.note(b, answer)
	}
}

func checkKilled(t *testing.T, a *agent, once, again *writer) {
	t.Helper()
	onceSent, onceAcked := once.events()
	stored := int(a.stream("once").Appended.Events)
	if stored < onceAcked || stored > onceSent {
		t.Errorf("stream once: got %d stored, want at least the %d acked and at most the %d sent", stored, onceAcked, onceSent)
	}
	againSent, _ := again.events()
	a.waitDelivered("once", stored, 2*time.Minute)
	a.waitDelivered("again", againSent, 2*time.Minute)
	a.stop()
	t.Logf("%d sent, %d acked, %d stored; %d batches recognised; last start took %s", onceSent+againSent, onceAcked+againSent,
		stored+againSent, again.repeated, a.started)
	for _, w := range []*writer{once, again} {
		arrived := delivered(t, a.path("out/"+w.stream), "sensor", true)
		t.Logf("%s: %v", w.stream, w.history().expectWhole(t, w.stream, arrived, len(arrived)/10))
	}
}
