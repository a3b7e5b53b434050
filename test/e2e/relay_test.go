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
	"github.com/standpipe/standpipe/test/testkit"
)

func relayTo(address, inside string) string {
	return fmt.Sprintf(`
  destination "relay" "next" {
    address = %q
    %s
    batch { max_delay = "50ms" }
    retry {
      initial = "20ms"
      max     = "500ms"
    }
  }`, address, inside)
}

// chain starts three agents, each of which relays the stream to the next. The last one writes files.
func chain(t *testing.T, stream string) (agents [3]*agent) {
	t.Helper()
	const log = "wal {\n  max_size = \"2GiB\"\n  segment_size = \"1MiB\"\n}\n"
	agents[2] = startAgent(t, log, streamBlock(stream, fileDestination))
	agents[1] = startAgent(t, log, streamBlock(stream, relayTo(agents[2].grpc, "")))
	agents[0] = startAgent(t, log, streamBlock(stream, relayTo(agents[1].grpc, "")))
	return agents
}

// Each of three agents in a row is killed at random moments while a producer writes, STANDPIPE_E2E_RELAY_ROUNDS times. Each
// event arrives once, in the order of its key.
func TestRelay_EachEventOnceThroughKillsOfAnyAgent(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_E2E_RELAY_ROUNDS", 30)
	seed := draw.Seed(t)
	t.Logf("%d rounds", rounds)
	r := rand.New(rand.NewPCG(seed, 3))
	agents := chain(t, "chain")
	w := newWriter(t, "chain", "gateway-17", seed)
	for round := range rounds {
		victim := agents[round%len(agents)]
		after := time.Duration(50+r.IntN(300)) * time.Millisecond
		if victim == agents[0] {
			writeUntilKilled(victim, after, w)
		} else {
			killed := time.AfterFunc(after, victim.kill)
			ctx, cancel := context.WithTimeout(t.Context(), after+100*time.Millisecond)
			w.run(ctx, agents[0].dial())
			cancel()
			if killed.Stop() {
				victim.kill()
			}
			<-victim.done
		}
		victim.start()
	}
	finish(agents[0], w)
	checkChain(t, agents, w, 0)
}

// The agent in the middle is off for STANDPIPE_E2E_RELAY_OFFLINE seconds while the producer writes. Nothing is lost and nothing
// is repeated.
func TestRelay_MiddleOfAChainIsOff(t *testing.T) {
	endToEnd(t)
	offline := time.Duration(number(t, "STANDPIPE_E2E_RELAY_OFFLINE", 2)) * time.Second
	agents := chain(t, "chain")
	w := newWriter(t, "chain", "gateway-17", 5)
	write := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		w.run(ctx, agents[0].dial())
	}
	write(200 * time.Millisecond)
	agents[1].kill()
	write(min(offline, 10*time.Second))
	time.Sleep(max(offline-10*time.Second, 0))
	if s := agents[0].stream("chain").Destinations[0]; s.Pending.Events == 0 || s.Dead.Events+s.Dropped.Events > 0 {
		t.Errorf("got %+v, want pending events", s)
	}
	agents[1].start()
	write(200 * time.Millisecond)
	finish(agents[0], w)
	checkChain(t, agents, w, 0)
}

func checkChain(t *testing.T, agents [3]*agent, w *writer, duplicates int) {
	t.Helper()
	sent, _ := w.events()
	for _, a := range agents {
		a.waitDelivered("chain", sent, 2*time.Minute)
	}
	for _, a := range agents {
		a.stop()
	}
	arrived := delivered(t, agents[2].path("out/chain"), "sensor", true)
	t.Logf("%v", w.history().expectWhole(t, "chain", arrived, duplicates))
}

// Key, data, time and attributes arrive, also in an envelope of the last agent. An event that a producer wants delivered is on
// the disk of the second agent.
func TestRelay_EventsArriveAsTheyAre(t *testing.T) {
	endToEnd(t)
	last := startAgent(t, "", streamBlock("in", "\n  destination \"file\" \"local\" {\n    path = \"${dir}/out\"\n    envelope = true\n  }"))
	first := startAgent(t, "", streamBlock("out", relayTo(last.grpc, `stream = "in"`)))
	at := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	m := request("out", event{"k ü", `{"a":1}`})
	m.Events[0].TimeUnixNano, m.Events[0].Attributes, m.Ack = at.UnixNano(), map[string]string{"market": "uk"}, standpipev1.Ack_ACK_DELIVERED
	r, err := first.dial().Append(t.Context(), m)
	if err != nil || r.Ack != standpipev1.Ack_ACK_DELIVERED {
		t.Fatalf("got %v, %v", r, err)
	}
	last.waitDelivered("in", 1, time.Minute)
	last.stop()
	files := deliveredFiles(t, last.path("out"))
	if len(files) != 1 {
		t.Fatalf("got files %q", files)
	}
	line, err := os.ReadFile(files[0])
	testkit.Must(t, err)
	for _, want := range []string{`"time":"2026-03-04T05:06:07.000000089Z"`, `"key":"k ü"`, `"attributes":{"market":"uk"}`, `"data":{"a":1}`} {
		if !strings.Contains(string(line), want) {
			t.Errorf("got %s, want %s", line, want)
		}
	}
}

func TestRelay_TLSTokenAndCertificate(t *testing.T) {
	endToEnd(t)
	last, c, address, _ := startGuarded(t)
	secured := func(certificate, token string) string {
		inside := fmt.Sprintf("tls {\n      ca_file     = %q\n      cert_file   = %q\n      key_file    = %q\n      server_name = \"localhost\"\n    }",
			last.path("ca.pem"), last.path(certificate+".pem"), last.path(certificate+".key"))
		if token != "" {
			inside += fmt.Sprintf("\n    token_file = %q", last.path(token))
		}
		return inside
	}
	for stream, inside := range map[string]string{"token": secured("gauge-7", "tokens"), "meter-1": secured("meter-7", "")} {
		first := startAgent(t, "", streamBlock(stream, relayTo(address, inside)))
		if _, err := first.dial().Append(t.Context(), request(stream, event{"k", "1"})); err != nil {
			t.Fatal(err)
		}
		last.waitDelivered(stream, 1, time.Minute)
		first.waitDelivered(stream, 1, time.Minute)
	}
	// A token that is not known blocks the destination until its file has another one.
	c.write("relay.token", []byte("unknown\n"))
	first := startAgent(t, "", streamBlock("later", relayTo(address, secured("gauge-7", "relay.token"))))
	if _, err := first.dial().Append(t.Context(), request("later", event{"k", "1"})); err != nil {
		t.Fatal(err)
	}
	first.waitState("later", "blocked", "UNAUTHENTICATED")
	c.write("relay.token", []byte("master\n"))
	first.waitDelivered("later", 1, time.Minute)
}

// waitState waits for the state and a part of the error of a stream's only destination.
func (a *agent) waitState(stream, state, text string) {
	a.t.Helper()
	testkit.Eventually(a.t, time.Minute, func() error {
		d := a.stream(stream).Destinations[0]
		if d.State != state || !strings.Contains(d.LastError, text) {
			return fmt.Errorf("got state %s, error %q, want %s, %q", d.State, d.LastError, state, text)
		}
		return nil
	})
}

func TestRelay_LoopIsRefused(t *testing.T) {
	endToEnd(t)
	a, b := newAgent(t, "", ""), newAgent(t, "", "")
	a.configure(streamBlock("round", relayTo(b.grpc, "")))
	b.configure(streamBlock("round", relayTo(a.grpc, "")))
	a.start()
	b.start()
	if _, err := a.dial().Append(t.Context(), request("round", event{"k", "1"})); err != nil {
		t.Fatal(err)
	}
	b.waitState("round", "blocked", "relay loop")
	id := a.status().Agent.ID
	if got := b.stream("round").Destinations[0].LastError; !strings.Contains(got, id) || !strings.Contains(got, "FAILED_PRECONDITION") {
		t.Errorf("got %q, want the agent %s", got, id)
	}
	if got := a.stream("round").Appended.Events; got != 1 {
		t.Errorf("got %d events, want 1", got)
	}
	// The operator ends the loop. What waits stays until then.
	b.configure(streamBlock("round", fileDestination))
	b.stop()
	b.start()
	if _, err := a.dial().Append(t.Context(), request("round", event{"k", "2"})); err != nil {
		t.Fatal(err)
	}
	a.waitDelivered("round", 2, time.Minute)
}
