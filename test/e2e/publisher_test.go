//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/draw"
)

// The agent is killed, or drained, under a Publisher, STANDPIPE_E2E_ROUNDS times; some events break a rule. The
// program that publishes sees none of it but the bad events' errors: the log has every good event once, at the offset
// of its receipt, in the order in which it was published.
func TestKill_UnderAPublisher(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_E2E_ROUNDS", 30)
	seed := draw.Seed(t)
	t.Logf("%d rounds", rounds)
	r := rand.New(rand.NewPCG(seed, 51))
	a := newAgent(t, "wal {\n  max_size = \"2GiB\"\n  segment_size = \"4MiB\"\n}\n", streamBlock("clicks", fileDestination))
	c, err := client.Dial("unix://"+a.path("grpc.sock"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.Publisher("clicks", client.PublisherOptions{BatchEvents: 20, Linger: 200 * time.Microsecond, MaxBuffered: 1 << 20})
	w := &publishing{p: p, r: rand.New(rand.NewPCG(seed, 52)), counts: make(map[string]int)}
	var writer sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	writer.Go(func() { w.run(ctx) })
	for i := range rounds {
		a.start()
		<-time.After(time.Duration(20+r.IntN(200)) * time.Millisecond)
		if i%5 == 4 {
			a.signal(syscall.SIGTERM)
			a.exit(40 * time.Second)
			continue
		}
		a.kill()
	}
	a.start()
	stop()
	writer.Wait()
	if err := p.Close(t.Context()); (err != nil) != (w.bad > 0) {
		t.Errorf("close with %d bad events: %v", w.bad, err)
	}
	w.check(t, a)
}

// publishing publishes numbered events of 8 keys, and records the outcome of each.
type publishing struct {
	p        *client.Publisher
	r        *rand.Rand
	counts   map[string]int
	events   []event
	receipts []client.Receipt
	bad      int   // of events
	err      error // of Publish
}

const badJSON = "{bad"

// run publishes until ctx ends.
func (w *publishing) run(ctx context.Context) {
	for ctx.Err() == nil {
		e := w.make()
		receipt, err := w.p.Publish(ctx, client.Event{Key: e.key, Data: []byte(e.data)})
		if err != nil {
			if ctx.Err() == nil {
				w.err = err
			}
			return
		}
		w.events, w.receipts = append(w.events, e), append(w.receipts, receipt)
		if e.data == badJSON {
			w.bad++
		}
		if len(w.events)%50 == 0 { // 200,000 events a second would only fill the disk
			<-time.After(time.Millisecond)
		}
	}
}

// make builds the next event; one in 500 is not JSON.
func (w *publishing) make() event {
	key := fmt.Sprintf("k%d", w.r.IntN(8))
	if w.r.IntN(500) == 0 {
		return event{key, badJSON}
	}
	w.counts[key]++
	return event{key, fmt.Sprintf(`{"sensor":%q,"n":%d,"pad":%q}`, key, w.counts[key], filler(w.r.IntN(512)))}
}

// check compares the receipts and the delivered events with the published ones.
func (w *publishing) check(t *testing.T, a *agent) {
	t.Helper()
	if w.err != nil {
		t.Errorf("publish: %v", w.err)
	}
	var good []event
	offset, unplaced := uint64(0), 0
	for i, receipt := range w.receipts {
		got, err := receipt.Wait(t.Context())
		isBad := w.events[i].data == badJSON
		if (err != nil) != isBad {
			t.Fatalf("event %d of %d: got %v", i, len(w.events), err)
		}
		if isBad {
			continue
		}
		good = append(good, w.events[i])
		offset++
		if got == 0 {
			unplaced++
		} else if got != offset {
			t.Fatalf("event %d: got offset %d, want %d", i, got, offset)
		}
	}
	stored := a.waitDelivered("clicks", len(good), 2*time.Minute)
	a.stop()
	arrived := delivered(t, a.path("out/clicks"), "sensor", true)
	v := owing(good).expectWhole(t, "clicks", arrived, len(arrived)/10)
	t.Logf("%d published, %d bad, %d stored, %d offsets not known; %v", len(w.events), w.bad, stored.Appended.Events, unplaced, v)
}
